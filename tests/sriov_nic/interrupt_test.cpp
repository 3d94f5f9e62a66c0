// Interrupts of a VF: causes, masks, auto-mask and auto-clear, and the throttle to the picosecond (validation row 11).
#include <doctest/doctest.h>

#include "tests/sriov_nic/rig.h"

namespace interrupt_test {

namespace {

using namespace nic_test;
using sim::Time;

constexpr std::int64_t quantum_ps = 2'048'000;

TEST_CASE("the throttle: at most one interrupt in N times 2.048 us") {
    struct Row {
        std::uint32_t eitr;
        std::int64_t interval_ps;
        std::uint64_t per_second;
    };
    const Row rows[] = {
        {8, quantum_ps, 488'281},       {40, 5 * quantum_ps, 97'656},
        {200, 25 * quantum_ps, 19'531}, {336, 42 * quantum_ps, 11'625},
        {0xff8, 511 * quantum_ps, 955}, {0xfff, 511 * quantum_ps, 955},  // the low three bits are zero
    };
    for (const Row row : rows) {
        CAPTURE(row.eitr);
        Rig rig;
        VirtualRegisters& vf = *rig.registers[0];
        vf.write_register(vf_reg::eitr, row.eitr);
        CHECK(vf.read_register(vf_reg::eitr) == (row.eitr & 0xff8));
        vf.write_register(vf_reg::eims, 1);
        // A cause every 100 ns.
        const Time begin = rig.now();
        const std::int64_t count = 4 * row.interval_ps / 100'000 + 10;
        for (std::int64_t i = 0; i < count; ++i) {
            vf.write_register(vf_reg::eics, 1);
            rig.run(Time::ns(100));
        }
        REQUIRE(rig.bus.interrupts.size() >= 4);
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(rig.bus.interrupts[i].at - begin == Time::ps(static_cast<std::int64_t>(i) * row.interval_ps));
        }
        CHECK(static_cast<std::uint64_t>(sim::picoseconds_per_second / row.interval_ps) == row.per_second);
    }
}

TEST_CASE("no throttle, no delay; a new interval starts with the next interrupt") {
    Rig rig;
    VirtualRegisters& vf = *rig.registers[0];
    vf.write_register(vf_reg::eims, 1);
    for (int i = 0; i < 5; ++i) vf.write_register(vf_reg::eics, 1);
    CHECK(rig.bus.interrupts.size() == 5);
    vf.write_register(vf_reg::eitr, 0x8000'0000 | 80);
    vf.write_register(vf_reg::eics, 1);
    CHECK(rig.bus.interrupts.size() == 6);
    const Time fired = rig.now();
    vf.write_register(vf_reg::eics, 1);
    rig.run(Time::us(5));
    // The counter runs on under "counter write disable"; without, it is replaced.
    vf.write_register(vf_reg::eitr, 0x8000'0000 | 400);
    CHECK(rig.bus.interrupts.size() == 6);
    rig.run(Time::us(30));
    REQUIRE(rig.bus.interrupts.size() == 7);
    CHECK(rig.bus.interrupts[6].at - fired == Time::ps(10 * quantum_ps));
    vf.write_register(vf_reg::eics, 1);
    CHECK(rig.bus.interrupts.size() == 7);
    vf.write_register(vf_reg::eitr, 400);
    CHECK(rig.bus.interrupts.size() == 8);
}

TEST_CASE("masks, auto-mask, auto-clear, and reading the causes") {
    Rig rig;
    VirtualRegisters& vf = *rig.registers[0];
    vf.write_register(vf_reg::eics, 5);
    CHECK(rig.bus.interrupts.empty());
    // Enabled later, it fires then.
    vf.write_register(vf_reg::eims, 1);
    CHECK(rig.bus.interrupts.size() == 1);
    CHECK(vf.read_register(vf_reg::eicr) == 5);
    CHECK(vf.read_register(vf_reg::eicr) == 0);
    vf.write_register(vf_reg::eiam, 3);
    vf.write_register(vf_reg::eiac, 3);
    CHECK(vf.read_register(vf_reg::eiam) == 3);
    CHECK(vf.read_register(vf_reg::eiac) == 3);
    vf.write_register(vf_reg::eics, 1);
    CHECK(rig.bus.interrupts.size() == 2);
    CHECK(vf.read_register(vf_reg::eims) == 0);  // masked itself
    CHECK(vf.read_register(vf_reg::eicr) == 0);  // cleared itself
    vf.write_register(vf_reg::eics, 1);
    CHECK(rig.bus.interrupts.size() == 2);
    vf.write_register(vf_reg::eims, 1);
    CHECK(rig.bus.interrupts.size() == 3);
    vf.write_register(vf_reg::eims, 2);
    vf.write_register(vf_reg::eimc, 2);
    vf.write_register(vf_reg::eics, 2);
    CHECK(rig.bus.interrupts.size() == 3);
    // No vector but three.
    vf.write_register(vf_reg::eims, 0xffff'fff8);
    vf.write_register(vf_reg::eics, 0xffff'fff8);
    CHECK(rig.bus.interrupts.size() == 3);
}

TEST_CASE("receive interrupts are as many as the throttle lets through") {
    Rig rig;
    QueueDriver& vf = rig.open(0, Rig::transmit_control, Rig::receive_control, 200);
    VirtualRegisters& registers = *rig.registers[0];
    registers.write_register(vf_reg::eiam, 0);
    rig.run(Time::us(10));
    const Time begin = rig.now();
    for (int i = 0; i < 300; ++i) {
        rig.controller.received(frame(mac_of(0), stranger, 60));
        rig.run(Time::us(1));
        while (!vf.receive().bytes.empty()) vf.release();
    }
    // 300 us at 51.2 us: the first at once, then 5 more.
    REQUIRE(rig.bus.interrupts.size() == 6);
    const Time path = rig.profile.receive_path + rig.profile.classify;
    for (std::size_t i = 0; i < 6; ++i) {
        CHECK(rig.bus.interrupts[i].at - begin == path + Time::ps(static_cast<std::int64_t>(i) * 25 * quantum_ps));
    }
}

TEST_CASE("the physical function: mailbox and link on their own vector") {
    Rig rig;
    rig.bus.interrupts.clear();
    rig.controller.set_link(false);
    REQUIRE(rig.bus.interrupts.size() == 1);
    CHECK(rig.bus.interrupts[0].function == physical_function);
    CHECK(rig.bus.interrupts[0].vector == 1);
    CHECK(rig.controller.read(reg::eicr) == 1u << cause::link);
    CHECK(rig.controller.read(reg::links) == 0);
    rig.registers[1]->write_register(vf_reg::mailbox, mailbox::request);
    CHECK(rig.bus.interrupts.size() == 2);
    CHECK(rig.controller.read(reg::mbvficr) == 2);
    CHECK(rig.controller.read(reg::eicr) == 1u << cause::mailbox);
    CHECK(rig.registers[0]->read_register(vf_reg::links) == 0);
}

}  // namespace

}  // namespace interrupt_test
