// Row 14: frames of 64 bytes from and to one guest, as fast as its driver goes: by a virtual function whose driver
// polls, and by the synthetic path.
#include "models/validation/guest_rig.h"
#include "models/validation/validation_row.h"

namespace models {

namespace {

using sim::Time;

constexpr std::size_t frame_bytes = 60;  // its check sequence besides

// Sends as fast as the driver takes frames, once started; counts what comes.
struct Generator final : NetworkDriverUser {
    void start() {
        running = true;
        room();
    }
    void ready() override { room(); }
    void room() override {
        while (running) {
            vmbus::OutgoingFrame frame;
            frame.bytes.assign(frame_bytes, std::byte{0x5a});
            const auto put = [&](std::size_t at, const MacAddress& mac) {
                for (std::size_t n = 0; n < mac.bytes.size(); ++n) frame.bytes[at + n] = std::byte{mac.bytes[n]};
            };
            put(0, to);
            put(6, from);
            frame.bytes[12] = std::byte{0x88};
            frame.bytes[13] = std::byte{0xb5};
            if (!driver->transmit(std::move(frame))) return;
        }
    }
    void receive(std::uint16_t, std::span<vmbus::IncomingFrame> frames) override { received += frames.size(); }

    NetworkDriver* driver = nullptr;
    MacAddress to, from;
    bool running = false;
    std::uint64_t received = 0;
};

struct Rates {
    std::int64_t sent = 0;  // thousands of frames a second
    std::int64_t received = 0;
};

Rates rates(NetworkPath path, Time window) {
    Generator ends[2];
    GuestRigConfig config;
    config.path = path;
    config.polling = path == NetworkPath::paired;
    config.users = {&ends[0], &ends[1]};
    GuestRig rig(config);
    for (unsigned n = 0; n < 2; ++n) {
        ends[n].driver = &rig.driver(n);
        ends[n].from = GuestRig::mac(n);
        ends[n].to = GuestRig::mac(1 - n);
    }
    rig.start();
    ends[0].start();
    rig.run_for(window);
    const auto sent = [&] { return rig.frames_on_wire(0); };
    const std::uint64_t sent_before = sent(), received_before = ends[1].received;
    rig.run_for(window);
    const auto per_second = [&](std::uint64_t count) {
        return static_cast<std::int64_t>(count * 1'000'000 / static_cast<std::uint64_t>(window / Time::ns(1)));
    };
    const Rates result{per_second(sent() - sent_before), per_second(ends[1].received - received_before)};
    ends[0].running = false;
    return result;
}

}  // namespace

void add_frame_rate_rows(ValidationRows& rows) {
    const char* source = "LISA, pull requests 494, 531 and 1049: DPDK's testpmd on Azure";
    const auto add = [&](const char* what, std::int64_t least, std::int64_t most, std::int64_t percent,
                         std::int64_t simulated) {
        const std::int64_t middle = (least + most) / 2;
        rows.push_back(
            {"14", what, "M frames/s", middle, simulated, percent_of(middle, percent), Basis::calibrated, source});
    };
    const Rates vf = rates(NetworkPath::paired, Time::ms(2));
    add("virtual function, polling, sends 11.3 to 12.5", 11'300, 12'500, 15, vf.sent);
    add("virtual function, polling, receives 10.2 to 12.3", 10'200, 12'300, 15, vf.received);
    add("synthetic, sends 0.31 to 0.64", 310, 640, 25, rates(NetworkPath::synthetic, Time::ms(10)).sent);
}

}  // namespace models
