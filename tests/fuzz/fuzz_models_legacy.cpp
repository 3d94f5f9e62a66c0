// The devices of a Generation 1 machine in the hands of a hostile guest.
#include "tests/fuzz/legacy_inputs.h"
#include "tests/fuzz/one_input.h"

namespace {

using Guest = fuzz::HostileLegacyGuest;
constexpr fuzz::KeptTarget target{
    .kind_of = [](std::span<const std::uint8_t>) { return 0u; },
    .make = [](unsigned) -> void* { return new Guest; },
    .run = [](void* guest, std::span<const std::uint8_t> input) { static_cast<Guest*>(guest)->run(input); },
    .sum = [](void* guest) { return static_cast<Guest*>(guest)->sum(); },
    .unmake = [](void* guest) { delete static_cast<Guest*>(guest); }};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input(target, data, size);
}
