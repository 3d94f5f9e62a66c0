// Rows 15, 16 and 17: streams over TCP by the synthetic path and by virtual function: rates, and what they take of the
// guests' processors. A guest's own accounts, which ntttcp reads, see neither its halts nor the root.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "models/validation/guest_rig.h"
#include "models/validation/validation_row.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/stream_flow.h"

namespace models {

namespace {

using sim::Time;

struct Streams {
    std::int64_t megabits = 0;
    std::int64_t sender = 0;  // thousandths of a cycle for each byte
    std::int64_t receiver = 0;
};

// Each connection has a program on a processor of its own at both ends, as far as there are so many.
Streams streams(const GuestRigConfig& config, unsigned connections, std::uint64_t write_bytes) {
    const Time window = Time::ms(6);
    GuestRig rig(config);
    rig.start();
    std::vector<std::unique_ptr<StreamFlow>> flows;
    for (unsigned n = 0; n < connections; ++n) {
        StreamFlow::Settings settings;
        settings.to = {GuestRig::address(1), static_cast<std::uint16_t>(7000 + n)};
        settings.write_bytes = write_bytes;
        settings.processor = n % config.vps;
        settings.receiver_processor = (n + 1) % config.vps;
        flows.push_back(std::make_unique<StreamFlow>(rig.simulation().scope("flow" + std::to_string(n)), rig.stack(0),
                                                     rig.stack(1), settings));
        flows.back()->start();
    }
    rig.run_for(window * 8);
    for (auto& flow : flows) flow->reset();
    const ProcessorUse before[] = {rig.use(0), rig.use(1)};
    rig.run_for(window);
    const ProcessorUse after[] = {rig.use(0), rig.use(1)};
    std::uint64_t bytes = 0;
    for (auto& flow : flows) bytes += flow->throughput().bytes;
    Streams result;
    result.megabits = static_cast<std::int64_t>(bytes * 8 / static_cast<std::uint64_t>(window / Time::us(1)));
    result.sender = rig.millicycles_per_byte(after[0].guest - before[0].guest, bytes);
    result.receiver = rig.millicycles_per_byte(after[1].guest - before[1].guest, bytes);
    return result;
}

}  // namespace

void add_synthetic_stream_rows(ValidationRows& rows) {
    const char* source = "LISA, pull request 571: Linux 5.2 on two Hyper-V hosts, 40 Gb/s";
    struct Published {
        unsigned connections;
        std::int64_t megabits;
        std::int64_t millicycles;  // of the sender
    };
    for (const Published& row : {Published{1, 6'210, 600}, Published{2, 11'450, 540}, Published{4, 13'720, 530},
                                 Published{16, 13'170, 830}, Published{32, 12'540, 860}}) {
        GuestRigConfig config;
        config.between = Between::wire;
        config.vps = config.channels = 8;
        const Streams result = streams(config, row.connections, 64 * 1024);
        const std::string what = fmt::format("{} connection{}", row.connections, row.connections == 1 ? "" : "s");
        rows.push_back({"15", what, "Gb/s", row.megabits, result.megabits, percent_of(row.megabits, 15),
                        Basis::predicted, source});
        rows.push_back({"15", what + ", sender", "cycles/B", row.millicycles, result.sender,
                        percent_of(row.millicycles, 15), Basis::predicted, source});
    }
}

void add_vf_stream_rows(ValidationRows& rows) {
    const char* source = "LISA, pull request 1189: Linux 5.4 on Azure, F72s_v2";
    GuestRigConfig config;
    config.path = NetworkPath::paired;
    config.between = Between::one_adapter;
    config.send_buffer = 4 << 20;  // writes of a megabyte make them grow (to net.ipv4.tcp_wmem and tcp_rmem)
    config.receive_buffer = 6 << 20;
    config.profile = "sandy-bridge-ep:3400MHz";  // what Azure gives as F72s_v2's turbo of all cores
    config.vps = 2;
    const Streams result = streams(config, 1, 1024 * 1024);
    const auto add = [&](const char* what, const char* unit, std::int64_t published, std::int64_t simulated,
                         Basis basis) {
        rows.push_back({"16", what, unit, published, simulated, percent_of(published, 15), basis, source});
    };
    add("one connection", "Gb/s", 19'370, result.megabits, Basis::predicted);
    add("sender", "cycles/B", 850, result.sender, Basis::predicted);
    add("receiver", "cycles/B", 1'900, result.receiver, Basis::calibrated);
}

void add_root_core_rows(ValidationRows& rows) {
    const char* source = "Microsoft on VMQ: 3 to 5 Gb/s for a core of the host's";
    GuestRigConfig one;
    one.between = Between::wire;
    one.vps = 2;
    const std::int64_t single = streams(one, 1, 64 * 1024).megabits;
    rows.push_back({"17", "one queue, 3 to 5", "Gb/s", 5'000, single, percent_of(5'000, 20), Basis::predicted, source});
    GuestRigConfig many = one;
    many.vps = many.channels = 4;
    many.queues = 4;
    many.wire_bits_per_second = 10'000'000'000;
    rows.push_back({"17", "four queues on 10 Gb/s, at least 9", "Gb/s", 9'400, streams(many, 8, 64 * 1024).megabits,
                    400, Basis::predicted, source});
    many.vps = many.channels = 12;
    many.queues = 12;
    many.wire_bits_per_second = 40'000'000'000;
    rows.push_back({"17", "twelve queues on 40 Gb/s", "Gb/s", 40'000, streams(many, 36, 64 * 1024).megabits,
                    percent_of(40'000, 20), Basis::predicted, source});
}

}  // namespace models
