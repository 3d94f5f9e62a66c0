// The devices of a Generation 1 machine in the hands of a hostile guest.
#include "tests/fuzz/legacy_inputs.h"
#include "tests/fuzz/one_input.h"

namespace {

using Guest = fuzz::HostileLegacyGuest;
constexpr fuzz::KeptTarget target{
    .kind_of = [](std::span<const std::uint8_t>) { return 0u; },
    .make = [](unsigned) -> void* { return new Guest; },
    .run = [](void* guest, std::span<const std::uint8_t> input) { static_cast<Guest*>(guest)->run(input); },
    .sum =
        [](void* guest) {
            auto& [ports, commands, sent, received, interrupts] = static_cast<Guest*>(guest)->done();
            sim::Simulation& simulation = static_cast<Guest*>(guest)->simulation();
            std::uint64_t sum = simulation.trace().records();
            for (const std::uint64_t part :
                 {ports, commands, sent, received, interrupts, simulation.agenda().events_fired()}) {
                sum = sum * 0x100000001b3 + part;
            }
            return sum;
        },
    .unmake = [](void* guest) { delete static_cast<Guest*>(guest); }};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input(target, data, size);
}
