// The part of the module _verdigris for questions to a guest's services: keys, snapshots, files, sockets, memory.
#pragma once

#include "python/bindings_devices.h"

namespace python {

void bind_services(GuestClass& guest);

}  // namespace python
