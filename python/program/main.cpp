// The executable `verdigris`: the face in front of the real host.
#include "models/host.h"
#include "python/command_line.h"

int main(int argc, char** argv) {
    return python::command_line(argc, argv, {&models::Host::create, {}});
}
