// The fuzz targets' inputs of every test run: seeded, so that each run tries the same ones.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/disk_inputs.h"
#include "tests/fuzz/kept_seeds.h"

namespace disk_hostile_test {

namespace {

template <class Target>
fuzz::HostileDisk::Done try_inputs(Target target, std::uint64_t count) {
    sim::Random random(1, "hostile disks");
    fuzz::HostileDisk::Done done;
    std::vector<std::uint8_t> input;
    for (std::uint64_t i = 0; i < count; ++i) {
        input.resize(random.between(1, 160));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.next_u64());
        CHECK_FALSE(target(input, &done));
    }
    CHECK(done.opened + done.refused == count);
    // Not all of it was nonsense, and not all of it was good.
    CHECK(done.opened > count / 5);
    CHECK(done.refused > count / 5);
    CHECK(done.writes > count / 5);
    return done;
}

}  // namespace

TEST_CASE("hostile disk images, from kept seeds") {
    const auto replay = [](const char* name, const auto& target) {
        CAPTURE(name);
        const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, name);
        CHECK(inputs.size() >= 60);
        for (const auto& input : inputs) CHECK(target(input, nullptr) == 0);
    };
    replay("models_disk_vhd", fuzz::disk_vhd);
    replay("models_disk_vhdx", fuzz::disk_vhdx);
}

TEST_CASE("hostile VHDX files") {
    CHECK(try_inputs(fuzz::disk_vhdx, effort(4000u)).replayed > effort(100u));
}

TEST_CASE("hostile VHD files") {
    try_inputs(fuzz::disk_vhd, effort(20'000u));
}

}  // namespace disk_hostile_test
