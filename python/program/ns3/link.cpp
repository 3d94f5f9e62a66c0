// The peer of `bench scale`: ns-3 moves frames over a plain link between two nodes. Nothing but its own point-to-point
// device is in the way: no stack, no queue discipline. `bench scale` compiles it with the distribution's ns-3.
//
//   link FRAMES BYTES      prints: FRAMES SECONDS-OF-PROCESSOR-TIME
#include <ns3/core-module.h>
#include <ns3/network-module.h>
#include <ns3/point-to-point-module.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

constexpr std::uint16_t protocol = 0x0800;
constexpr std::uint32_t header_bytes = 2;  // of the link's own protocol
constexpr unsigned batch = 64;             // as many as a driver gives its adapter at once

double processor_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Link {
    explicit Link(std::uint32_t frame_bytes) : payload(frame_bytes - header_bytes) {
        ns3::NodeContainer nodes;
        nodes.Create(2);
        ns3::PointToPointHelper link;
        link.SetDeviceAttribute("DataRate", ns3::StringValue("10Gbps"));
        link.SetChannelAttribute("Delay", ns3::StringValue("25ns"));
        link.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", ns3::StringValue("256p"));
        devices = link.Install(nodes);
        devices.Get(1)->SetReceiveCallback(ns3::MakeCallback(&Link::receive, this));
    }
    bool receive(ns3::Ptr<ns3::NetDevice>, ns3::Ptr<const ns3::Packet>, std::uint16_t, const ns3::Address&) {
        // The next batch is there before the link has nothing to do.
        if (++received % batch == batch / 2) send();
        return true;
    }
    void send() {
        for (unsigned n = 0; n < batch && sent < wanted; ++n, ++sent) {
            devices.Get(0)->Send(ns3::Create<ns3::Packet>(payload), devices.Get(1)->GetAddress(), protocol);
        }
    }
    void run(std::uint64_t frames) {
        wanted = sent + frames;
        send();
        ns3::Simulator::Run();
    }

    std::uint32_t payload;
    ns3::NetDeviceContainer devices;
    std::uint64_t wanted = 0, sent = 0, received = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const auto frames = std::strtoull(argv[1], nullptr, 10);
    Link link(static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10)));
    link.run(frames / 10 + 1);  // to warm up
    const std::uint64_t before = link.received;
    const double since = processor_seconds();
    link.run(frames);
    const double seconds = processor_seconds() - since;
    std::printf("%llu %.6f\n", static_cast<unsigned long long>(link.received - before), seconds);
    ns3::Simulator::Destroy();
    return 0;
}
