// A machine that is saved in the middle and restored into a fresh one ends as the straight run: same trace, same
// registers and memory, same statistics.
#include "sim/random.h"
#include "whole_machine.h"

namespace checkpoint_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr auto here = static_cast<std::uint32_t>(place::data);

// Two partitions, three processors on two LPs, with something of everything under way: APIC and synthetic timers, IPIs,
// messages and overlays, an NMI's handler, intercepts that the root answers later, a cap.
struct BusyMachine : WholeMachine {
    explicit BusyMachine(bool started) : WholeMachine(2, config()) {
        root.answer = [this](const HvMessage& message) {
            const auto io = payload_of<HvX64IoPortInterceptMessage>(message, HvMessageType::x64_io_port_intercept);
            if (io) pending.push_back({message.header.origin, {io->header.vp_index, io->header.rip + 2}});
            if (io) answer_later.arm_after(Time::us(3));
        };
        if (!started) return;
        const PartitionId a = guest(2);
        const PartitionId b = guest(1);
        for (const PartitionId id : {a, b}) {
            REQUIRE(client->install_intercept(id, intercept_access_mask::read, HvInterceptType::x64_io_port, 0x70) ==
                    HvStatus::success);
            handler(0x40, Code{}.inc_at(here).x2apic_eoi().iretq(), id);
            handler(0x41, Code{}.inc_at(here + 4).x2apic_eoi().iretq(), id);
            handler(0x55, Code{}.inc_at(here + 8).stamp(here + 12).x2apic_eoi().iretq(), id);
            handler(2, Code{}.inc_at(here + 16).raw({0x0f, 0xa2}).iretq(), id);
        }
        REQUIRE(client->set_property(b, HvPartitionProperty::cpu_cap, 40'000) == HvStatus::success);
        for (std::uint32_t vp : {0u, 1u}) {
            Code code;
            code.x2apic_on()
                .wrmsr(0x83e, 0xb)
                .wrmsr(0x832, 0x2'0040)
                .wrmsr(0x838, 700 + 300 * vp)  // every 7 or 10 us
                .sti();
            const auto loop = code.bytes.size();
            code.wrmsr(0x830, std::uint64_t{1 - vp} << 32 | 0x55).in(0x70).inc_at(here + 32 + 4 * vp);
            if (vp == 0) code.wrmsr(0x830, 1ull << 32 | 4u << 8);
            code.raw({0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xfe, 0xc8}).hlt();  // MOVD XMM0, EAX; PADDD XMM1, XMM0
            code.raw({0xe9}).imm32(static_cast<std::uint32_t>(loop - code.bytes.size() - 4));
            start(vp, code, a);
        }
        Code code;
        code.x2apic_on()
            .wrmsr(msr::guest_os_id, 1)
            .wrmsr(msr::hypercall, 0x30'001)
            .wrmsr(msr::reference_tsc, 0x31'001)
            .wrmsr(msr::simp, 0x32'001)
            .wrmsr(msr::sint0 + 2, 0x41)
            .wrmsr(msr::scontrol, 1)
            .wrmsr(msr::stimer0_config, 0x2'000a)  // periodic, by message
            .wrmsr(msr::stimer0_count, 1000)
            .sti();
        const auto loop = code.bytes.size();
        code.inc_at(here + 40).load_eax(0x31'008).raw({0x01, 0xc3}).inc_at(0x32'200 + 24).in(0x70);
        code.raw({0xe9}).imm32(static_cast<std::uint32_t>(loop - code.bytes.size() - 4));
        start(0, code, b);
    }
    static HypervisorConfig config() {
        HypervisorConfig config = round_numbers(2);
        config.quantum = Time::us(5);
        config.scheduler.time_slice = Time::us(40);
        config.scheduler.period = Time::us(300);
        return config;
    }

    void run_until(Time end) {
        while (simulation.agenda().next_event() < end) REQUIRE(simulation.agenda().run_next());
    }

    struct Pending {
        PartitionId partition = 0;
        std::pair<std::uint32_t, std::uint64_t> vp_and_rip;
        template <class Archive>
        void fields(Archive& archive) {
            archive(partition, vp_and_rip);
        }
    };
    void answer_now() {
        for (const Pending& p : std::exchange(pending, {})) {
            const auto [vp, rip] = p.vp_and_rip;
            set(HvRegister::x64_rax, 0x1000 + pending.size(), vp, p.partition);
            set(HvRegister::x64_rip, rip, vp, p.partition);
            set(HvRegister::intercept_suspend, 0, vp, p.partition);
        }
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(pending, answer_later, spa, guests, source.free);
    }
    std::vector<Pending> pending;
    sim::Timer answer_later{simulation.agenda(), "root.answer", [this] { answer_now(); }};
    sim::StateRegistration registration = simulation.scope("root").register_state(*this);
};

// All that a guest could notice, and what a report shows.
std::vector<std::uint64_t> observed(BusyMachine& m) {
    std::vector<std::uint64_t> all;
    for (const auto& [id, vp] : {std::pair{2u, 0u}, std::pair{2u, 1u}, std::pair{3u, 0u}}) {
        for (std::uint32_t n = 0; n < 18; ++n) {
            all.push_back(m.reg(HvRegister{static_cast<std::uint32_t>(HvRegister::x64_rax) + n}, vp, id));
        }
        for (const HvRegister name : {HvRegister::x64_xmm0, HvRegister{0x3'0001}, HvRegister::x64_cr8,
                                      HvRegister::internal_activity_state, HvRegister::interrupt_state}) {
            all.push_back(m.reg(name, vp, id));
        }
        all.push_back(m.hypervisor->instructions(id));
    }
    all.push_back(m.hypervisor->instructions());
    all.push_back(m.simulation.agenda().events_fired());
    for (const auto& [name, statistic] : m.simulation.statistics().all()) all.push_back(statistic.counter.value());
    return all;
}

}  // namespace

TEST_CASE("the machine of this test is busy") {
    BusyMachine m{true};
    m.run_until(Time::ms(1));
    CHECK(m.data(0) > 100);    // APIC timers of two processors
    CHECK(m.data(8) > 100);    // IPIs
    CHECK(m.data(16) > 50);    // NMIs
    CHECK(m.data(4, 3) == 1);  // one timer message, which nobody takes
    CHECK(m.data(40, 3) > 20);
}

TEST_CASE("restored anywhere, the run ends as the straight one") {
    sim::Random random{1, "checkpoint"};
    for (int round = 0; round < 10; ++round) {
        const Time middle = Time::ns(static_cast<std::int64_t>(random.below(400'000)));
        const Time end = Time::us(500);
        CAPTURE(middle.ps());
        BusyMachine straight{true};
        straight.run_until(middle);
        const std::vector<std::byte> memory = straight.bytes;
        const std::vector<std::byte> checkpoint = straight.simulation.save();
        straight.run_until(end);

        // Into a machine that has nothing yet, or one that has come somewhere else.
        const bool used = round % 2 == 1;
        BusyMachine restored{used};
        if (used) restored.run_until(Time::us(123));
        std::copy(memory.begin(), memory.end(), restored.bytes.begin());  // its owner's part, done first
        restored.simulation.restore(checkpoint);
        restored.run_until(end);
        CHECK(restored.simulation.trace().records() == straight.simulation.trace().records());
        CHECK(restored.simulation.trace().hash() == straight.simulation.trace().hash());
        REQUIRE(observed(restored) == observed(straight));
        REQUIRE(restored.bytes == straight.bytes);
    }
}

}  // namespace checkpoint_test
