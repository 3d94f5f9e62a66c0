// Rows 9 and 10: one core that sends 64-byte frames by polling, as netmap does on an 82599. The driver is behavioural:
// a call costs a system call and a doorbell, a frame some cycles, one constant calibrated; the adapter, its link and
// the wire do the rest.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "models/validation/validation_row.h"
#include "pci/capability_registers.h"
#include "pci/link.h"
#include "pci/root_complex.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "sriov_nic/adapter.h"
#include "sriov_nic/queue_driver.h"

namespace models {

namespace {

using sim::Time;

// Calibrated: 60.5 cycles a frame in calls of 512 frames (netmap's line rate from 900 MHz on), less the call's share.
constexpr std::int64_t millicycles_per_frame = 60'300;
// Assumed: a system call, its look at the ring included; and a write of a register, as mmio.write of the profile.
constexpr Time system_call = Time::ns(50), doorbell = Time::ns(50);
constexpr std::uint32_t ring = 2048, frame_bytes = 60, buffer_bytes = 1024;

struct FlatMemory final : pci::HostPort {
    explicit FlatMemory(std::size_t size) : bytes(size) {}
    bool inside(std::uint64_t address, std::size_t size) const {
        return address <= bytes.size() && size <= bytes.size() - address;
    }
    pci::DmaStatus read_memory(pci::RequesterId, std::uint64_t address, std::span<std::byte> out) override {
        if (!inside(address, out.size())) return pci::DmaStatus::unsupported;
        std::memcpy(out.data(), &bytes[address], out.size());
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t address, std::span<const std::byte> data) override {
        if (!inside(address, data.size())) return pci::DmaStatus::unsupported;
        std::memcpy(&bytes[address], data.data(), data.size());
        return pci::DmaStatus::ok;
    }
    void interrupt(const pci::InterruptMessage&) override {}
    void line(unsigned, bool) override {}
    std::vector<std::byte> bytes;
};

struct SentFrames final : sriov_nic::Wire {
    void transmit(std::span<const std::byte>, Time, Time) override { ++frames; }
    std::uint64_t frames = 0;
};

struct VirtualFunction final : sriov_nic::RegisterPort {
    explicit VirtualFunction(sriov_nic::Adapter& the_adapter) : adapter(the_adapter) {}
    std::uint32_t read_register(std::uint32_t offset) override {
        return static_cast<std::uint32_t>(adapter.read_virtual_bar(0, sriov_nic::virtual_register_bar, offset, 4));
    }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        adapter.write_virtual_bar(0, sriov_nic::virtual_register_bar, offset, 4, value);
    }
    sriov_nic::Adapter& adapter;
};

pci::LinkConfig polled_link() {
    pci::LinkConfig config;
    const std::uint32_t guide = pci::ack_limit_x8(2, 256);
    config.rate = {2, 8, guide, guide};
    config.flight = Time::ns(85);
    return config;
}

class PollingSender final : private sim::Task {
public:
    PollingSender(std::int64_t clock_hz, std::uint32_t batch)
        : clock_hz_(clock_hz),
          batch_(batch),
          memory_(layout().bytes()),
          root_(simulation_.scope("root"), memory_, pci::Wiring::rotated),
          link_(simulation_.scope("link"), root_.bus(), timing_, polled_link()),
          adapter_(simulation_.scope("nic"), root_.bus().slot(0, 0), link_, wire_, profile_),
          host_(simulation_.scope("driver"), adapter_),
          registers_(adapter_),
          driver_(registers_, memory_.bytes, layout(), 0),
          frame_(frame_bytes),
          core_(simulation_.scope("core"), Time::zero()),
          slot_(core_, *this) {
        namespace sriov = pci::sriov;
        link_.connect(adapter_);
        pci::Function& physical = adapter_.physical();
        const unsigned at = physical.config().layout().extended_capability(pci::extended_id::sriov);
        physical.write_config(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
        physical.write_config(at + sriov::num_vfs, 2, 1);
        physical.write_config(at + sriov::control, 2,
                              sriov::ari_capable_hierarchy | sriov::vf_enable | sriov::vf_memory_space);
        sriov_nic::PhysicalSettings settings;
        settings.mac = 0xf000'0000'0002;
        settings.vfs = 1;
        sriov_nic::VfPolicy policy;
        policy.kind = sriov_nic::VfKind::hyper_v;
        policy.mac = 0x0100'0000'0002;
        host_.set_policy(0, policy);
        adapter_.controller().set_link(true);
        host_.start(settings);
        host_.enable_hyper_v(0);
        adapter_.virtual_function(0).write_config(pci::header::command, 2, pci::command::bus_master);
        driver_.open(8u << 16 | 1u << 8 | 32, 0, 0);
        const std::uint64_t to = 0xee00'0000'0002;
        std::memcpy(frame_.data(), &to, 6);
        std::memcpy(&frame_[6], &policy.mac, 6);
        frame_[12] = std::byte{0x88};  // IEEE 802: for experiments
        frame_[13] = std::byte{0xb5};
        slot_.wake();
    }

    // Frames per second on the wire, thousandths.
    std::int64_t rate() {
        run(Time::us(200));
        const std::uint64_t before = wire_.frames;
        const Time begin = simulation_.agenda().now();
        run(Time::ms(5));
        return static_cast<std::int64_t>(wire_.frames - before) * 1'000'000'000'000 /
               ((simulation_.agenda().now() - begin) / Time::ns(1));
    }
    // What the core spends on a frame in calls that find room for all of theirs, in thousandths of a cycle.
    std::int64_t millicycles() {
        run(Time::us(500));
        return static_cast<std::int64_t>(static_cast<sim::u128>(spent_.ps()) * static_cast<sim::u128>(clock_hz_) /
                                         (1'000'000'000ull * sent_));
    }

private:
    static sriov_nic::QueueDriverLayout layout() { return {0, ring, 64, buffer_bytes}; }
    void run(Time time) { simulation_.agenda().run_until(simulation_.agenda().now() + time); }

    std::optional<Time> begin() override {
        (void)driver_.reclaim();
        now_sending_ = std::min(batch_, ring - 1 - driver_.in_ring());
        const std::int64_t millicycles = millicycles_per_frame * static_cast<std::int64_t>(now_sending_);
        const Time work = Time::ps(millicycles * 1'000'000'000 / clock_hz_);
        const Time cost = system_call + (now_sending_ != 0 ? doorbell : Time::zero()) + work;
        if (now_sending_ == batch_) {
            spent_ += cost;
            sent_ += batch_;
        }
        return cost;
    }
    void finish() override {
        for (std::uint32_t n = 0; n < now_sending_; ++n) (void)driver_.send(frame_);
        if (now_sending_ != 0) driver_.notify();
        slot_.wake();
    }

    std::int64_t clock_hz_;
    std::uint32_t batch_;
    sim::Simulation simulation_;
    sriov_nic::Profile profile_;
    FlatMemory memory_;
    pci::FixedHostTiming timing_{Time::ns(200), Time::zero()};
    pci::RootComplex root_;
    pci::Link link_;
    SentFrames wire_;
    sriov_nic::Adapter adapter_;
    sriov_nic::PhysicalDriver host_;
    VirtualFunction registers_;
    sriov_nic::QueueDriver driver_;
    std::vector<std::byte> frame_;
    sim::SerialProcessor core_;
    sim::TaskSlot slot_;
    std::uint32_t now_sending_ = 0;
    std::uint64_t sent_ = 0;
    Time spent_;
};

}  // namespace

void add_polling_rows(ValidationRows& rows) {
    struct Published {
        std::int64_t megahertz;
        std::int64_t packets_per_second;
        Basis basis;
    };
    // Line rate from 900 MHz on, and as the clock below.
    for (const Published& one :
         {Published{900, 14'880'952, Basis::calibrated}, Published{450, 7'440'476, Basis::predicted},
          Published{2930, 14'880'952, Basis::predicted}}) {
        const std::int64_t published = one.packets_per_second * 1000;
        rows.push_back({"9", fmt::format("64-byte frames, 512 a call, one core at {} MHz", one.megahertz), "packets/s",
                        published, PollingSender(one.megahertz * 1'000'000, 512).rate(), percent_of(published, 3),
                        one.basis, "Rizzo, netmap, USENIX ATC 2012: line rate from 900 MHz on, linear below"});
    }
}

void add_batch_rows(ValidationRows& rows) {
    const std::int64_t alone = PollingSender(2'930'000'000, 1).millicycles();
    const std::int64_t together = PollingSender(2'930'000'000, 32).millicycles();
    rows.push_back({"10", "32 frames a call instead of one, saved per frame", "cycles", 300'000, alone - together,
                    percent_of(300'000, 15), Basis::predicted, "Rizzo, netmap, USENIX ATC 2012, at 2.93 GHz"});
}

}  // namespace models
