// Entry points that take a VF driver's bytes to the adapter: as libFuzzer targets (fuzz_nic_*.cpp), and with kept and
// random inputs in tests/sriov_nic/nic_fuzz_test. The first byte chooses the machine; the others are acts and the time
// between them. In the end the neighbour's frames still go and come. A machine takes longer to make than most inputs to
// run: a fuzzer keeps one of each kind.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "tests/fuzz/nic_inputs.h"

namespace fuzz {

// What was reached, so that a test can tell inputs that do something from others.
struct NicDone {
    std::uint64_t acts = 0, reads = 0, writes = 0, frames = 0, messages = 0, malformed = 0, faults = 0;
};

// Rings of a driver in a hurry: longer than what the adapter fetches at once, and soon at their end.
using HostileNicDriver = HostileVf<ByteInput, 48>;

class NicUnderTest {
public:
    static constexpr unsigned kinds = 32;
    using Act = void (*)(HostileNicDriver&, ByteInput&);

    // Its neighbour works before as well, which leaves the adapter with what it makes when it first needs it.
    NicUnderTest(unsigned kind, VfKind vf_kind) : machine(settings(kind, vf_kind)), vf(machine, 1) {
        neighbour_works();
    }

    void run(ByteInput& input, Act act) {
        // So many acts are enough for any input, and keep the longest of them short.
        for (; !input.empty() && acts < 256; ++acts) {
            act(vf, input);
            machine.run(sim::Time::ns(8 * input.byte()));
            machine.check_bounds();
        }
        neighbour_works();
        machine.check_memory();
    }
    void add_to(NicDone& done) {
        const Statistics& s = machine.controller().statistics();
        done.acts += acts;
        done.reads += machine.memory.counts(1).reads;
        done.writes += machine.memory.counts(1).writes;
        done.frames += machine.wire.other_frames + s.loopback;
        done.messages += machine.driver.state().messages;
        done.malformed += s.malformed;
        done.faults += s.dma_errors;
    }
    // What the machine has come to: its events, its counts, the memory of the hostile driver's partition.
    std::uint64_t sum() {
        NicDone done;
        add_to(done);
        std::uint64_t sum = std::hash<std::string_view>{}(
            {reinterpret_cast<const char*>(machine.memory.memory_of(1).data()), machine.memory.memory_of(1).size()});
        for (const std::uint64_t part :
             {done.acts, done.reads, done.writes, done.frames, done.messages, done.malformed, done.faults,
              machine.wire.other_octets, machine.simulation.agenda().events_fired(),
              machine.simulation.trace().records(), static_cast<std::uint64_t>(machine.now().ps())}) {
            sum = (sum ^ part) * 0x100000001b3;
        }
        return sum;
    }

private:
    static GuardedSettings settings(unsigned how, VfKind kind) {
        GuardedSettings wish;
        wish.vfs = 2;
        wish.kind = kind;
        wish.partition_bytes = 96 * 1024;
        wish.ring = 16;
        wish.physical.queues_per_pool = (how & 1) != 0 ? 4 : 2;
        wish.physical.weighted = (how & 2) != 0;
        wish.physical.uplink = (how & 4) != 0 ? Uplink::vepa : Uplink::veb;
        wish.physical.max_frame = (how & 8) != 0 ? 9018 : 1518;
        wish.hostile_mbps = (how & 16) != 0 ? 2500 : 0;
        // Smaller buffers are full sooner, and made sooner.
        wish.profile.transmit_buffer_bytes = 20 * 1024;
        wish.profile.receive_buffer_bytes = 32 * 1024;
        return wish;
    }
    void neighbour_works() {
        std::vector<std::byte> frame;
        const std::uint64_t before = machine.wire.good_frames, after = before + 2;
        for (std::uint64_t i = before; i < after; ++i) {
            WatchedWire::fill(frame, GuardedMachine::peer, GuardedMachine::mac_of_vf(0), 200, i);
            VG_CHECK(machine.good->send(frame));
        }
        machine.good->notify();
        WatchedWire::fill(frame, GuardedMachine::mac_of_vf(0), GuardedMachine::peer, 300, before);
        bool received = false;
        // What is in the buffers goes before, and others' frames for everybody.
        for (unsigned turn = 0; turn < 64 && !(received && machine.wire.good_frames == after); ++turn) {
            if (turn == 2) machine.controller().received(frame);
            machine.run(sim::Time::us(turn < 4 ? 5 : 50));
            for (auto got = machine.good->receive(); !got.bytes.empty(); got = machine.good->receive()) {
                if (load_mac(&got.bytes[6]) == GuardedMachine::peer) {
                    received = WatchedWire::sequence_of(got.bytes) == before;
                }
                machine.good->release();
            }
        }
        VG_CHECK(received && machine.wire.good_frames == after);
        VG_CHECK(machine.good->reclaim() <= 2);
    }

public:
    GuardedMachine machine;
    HostileNicDriver vf;
    std::uint64_t acts = 0;
};

// One of the targets.
struct NicTarget {
    VfKind vf_kind;
    bool queues_work;  // from the beginning
    NicUnderTest::Act act;

    static unsigned kind_of(std::span<const std::uint8_t> data) {
        return data.empty() ? 0 : data[0] % NicUnderTest::kinds;
    }
    std::unique_ptr<NicUnderTest> make(unsigned kind) const {
        auto test = std::make_unique<NicUnderTest>(kind, vf_kind);
        for (unsigned queue = 0; queues_work && queue < 2; ++queue) test->vf.set_up_plainly(queue);
        return test;
    }
    void run(NicUnderTest& test, std::span<const std::uint8_t> data) const {
        ByteInput input{data};
        (void)input.byte();
        test.run(input, act);
    }
    int run(std::span<const std::uint8_t> data, NicDone* done) const {
        const auto test = make(kind_of(data));
        run(*test, data);
        if (done != nullptr) test->add_to(*done);
        return 0;
    }
};

// Registers, resets, interrupts, configuration space.
inline void act_on_registers(HostileNicDriver& vf, ByteInput& in) {
    switch (in.byte() % 12) {
        case 0:
            return vf.set_up(in, false);
        case 1:
            return vf.set_up(in, true);
        case 2:
            return vf.read_register(in);
        case 3:
            return vf.interrupts(in);
        case 4:
            return vf.message_table(in);
        case 5:
            return vf.flood(in);
        case 6:
            return in.flag() ? vf.reset(in) : vf.write_register(in);
        case 7:
            return vf.configuration(in);
        case 8:
            return vf.storm(in);
        default:
            return vf.write_register(in);
    }
}
inline constexpr NicTarget nic_registers_target{VfKind::hyper_v, false, act_on_registers};
inline int nic_registers(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    return nic_registers_target.run(data, done);
}

// Descriptors of queues that were set up well, and what they lead to.
inline void act_on_descriptors(HostileNicDriver& vf, ByteInput& in) {
    switch (in.byte() % 16) {
        case 0:
            return vf.set_up(in, false);
        case 1:
            return vf.set_up(in, true);
        case 2:
        case 3:
            return vf.receive_descriptors(in);
        case 4:
            return vf.doorbell(in, vf_reg::rdbal);
        case 5:
            return vf.make_frame(in);
        case 6:
            return vf.storm(in);
        case 7:
        case 8:
        case 9:
            return vf.doorbell(in, vf_reg::tdbal);
        default:
            return vf.transmit_descriptors(in);
    }
}
inline constexpr NicTarget nic_descriptors_target{VfKind::hyper_v, true, act_on_descriptors};
inline int nic_descriptors(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    return nic_descriptors_target.run(data, done);
}

// Messages to the host's driver, which answers whenever it looks.
inline void act_on_mailbox(HostileNicDriver& vf, ByteInput& in) {
    switch (in.byte() % 12) {
        case 0:
            return (in.byte() & 3) == 0 ? vf.reset(in) : vf.any_message(in);
        case 1:
            return vf.write_register(in);
        case 2:
            return vf.make_frame(in);
        case 3:
            return vf.storm(in);
        case 4:
        case 5:
        case 6:
            return vf.any_message(in);
        case 7:
            return vf.host_looks();
        default:
            return vf.send_message(in);
    }
}
inline constexpr NicTarget nic_mailbox_target{VfKind::mailbox, false, act_on_mailbox};
inline int nic_mailbox(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    return nic_mailbox_target.run(data, done);
}

}  // namespace fuzz
