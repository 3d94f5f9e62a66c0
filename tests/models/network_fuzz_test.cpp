// Hostile frames and files: kept seeds and a hundred thousand frames by fixed chance.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/frame_inputs.h"
#include "tests/fuzz/kept_seeds.h"

namespace network_fuzz_test {

namespace {

std::vector<std::uint8_t> some_bytes(sim::Random& random, std::size_t n) {
    std::vector<std::uint8_t> bytes(n);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next_u64());
    return bytes;
}

}  // namespace

TEST_CASE("hostile frames") {
    sim::Random random(1, "hostile frames");
    fuzz::HostileFrames::Done done;
    while (done.frames < effort(100'000u)) fuzz::hostile_frames(some_bytes(random, random.between(1, 20'000)), &done);
    // Not all of it was nonsense.
    CHECK(done.answers > done.frames / 10);
    CHECK(done.opened > effort(300u));
    CHECK(done.ended > effort(300u));
    CHECK(done.tenants > effort(300u));
}

TEST_CASE("hostile frames, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "models_peer");
    CHECK(inputs.size() >= 60);
    for (const auto& input : inputs) CHECK(fuzz::hostile_frames(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileFrames run{input};
        run.run();
        return fuzz::end_of(run.simulation());
    }));
}

TEST_CASE("hostile captures, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "models_capture");
    CHECK(inputs.size() >= 30);
    std::uint64_t frames = 0;
    for (const auto& input : inputs) CHECK(fuzz::hostile_capture(input, &frames) == 0);
    CHECK(frames > 10);
}

TEST_CASE("hostile captures") {
    // Sound files with a few bytes changed, and cut.
    std::vector<std::byte> sound = models::pcapng_section_header();
    const auto append = [&](const std::vector<std::byte>& block) {
        sound.insert(sound.end(), block.begin(), block.end());
    };
    append(models::pcapng_interface("one"));
    models::Frame frame{std::vector<std::byte>(60)};
    for (int i = 0; i < 3; ++i) append(models::pcapng_packet(0, sim::Time::us(i), models::FrameDirection::in, frame));
    sim::Random random(2, "hostile captures");
    std::uint64_t frames = 0;
    for (int i = 0; i < effort(20'000); ++i) {
        std::vector<std::uint8_t> file(sound.size());
        std::memcpy(file.data(), sound.data(), sound.size());
        for (std::uint64_t n = random.below(4); n > 0; --n)
            file[random.below(file.size())] = static_cast<std::uint8_t>(random.next_u64());
        if (random.one_in(3)) file.resize(random.below(file.size()));
        fuzz::hostile_capture(file, &frames);
        fuzz::hostile_capture(some_bytes(random, random.below(100)), &frames);
    }
    CHECK(frames > effort(10'000u));
}

}  // namespace network_fuzz_test
