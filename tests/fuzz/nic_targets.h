// Entry points that take a VF driver's bytes to the adapter: as libFuzzer targets (fuzz_nic_*.cpp), and with kept and
// random inputs in tests/sriov_nic/nic_fuzz_test. The first byte chooses the machine; the others are acts and the time
// between them. In the end the neighbour's frames still go and come.
#pragma once

#include <cstdint>
#include <span>

#include "tests/fuzz/nic_inputs.h"

namespace fuzz {

// What was reached, so that a test can tell inputs that do something from others.
struct NicDone {
    std::uint64_t acts = 0, reads = 0, writes = 0, frames = 0, messages = 0, malformed = 0, faults = 0;
};

class NicUnderTest {
public:
    explicit NicUnderTest(ByteInput& input, VfKind kind) : machine(settings(input.byte(), kind)), vf(machine, 1) {}

    template <class Act>
    void run(ByteInput& input, Act act, NicDone* done) {
        std::uint64_t acts = 0;
        // So many acts are enough for any input, and keep the longest of them short.
        for (; !input.empty() && acts < 256; ++acts) {
            act(vf, input);
            machine.run(sim::Time::ns(8 * input.byte()));
            machine.check_bounds();
        }
        neighbour_works();
        machine.check_memory();
        if (done == nullptr) return;
        const Statistics& s = machine.controller().statistics();
        done->acts += acts;
        done->reads += machine.memory.counts(1).reads;
        done->writes += machine.memory.counts(1).writes;
        done->frames += machine.wire.other_frames + s.loopback;
        done->messages += machine.driver.state().messages;
        done->malformed += s.malformed;
        done->faults += s.dma_errors;
    }

private:
    static GuardedSettings settings(std::uint8_t how, VfKind kind) {
        GuardedSettings wish;
        wish.vfs = 2;
        wish.kind = kind;
        wish.partition_bytes = 128 * 1024;
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
        constexpr unsigned frames = 4;
        for (unsigned i = 0; i < frames; ++i) {
            WatchedWire::fill(frame, GuardedMachine::peer, GuardedMachine::mac_of_vf(0), 200, i);
            VG_CHECK(machine.good->send(frame));
        }
        machine.good->notify();
        WatchedWire::fill(frame, GuardedMachine::mac_of_vf(0), GuardedMachine::peer, 300, 0);
        bool received = false;
        // What is in the buffers goes before, and others' frames for everybody.
        for (unsigned turn = 0; turn < 64 && !(received && machine.wire.good_frames == frames); ++turn) {
            if (turn == 2) machine.controller().received(frame);
            machine.run(sim::Time::us(turn < 4 ? 5 : 50));
            for (auto got = machine.good->receive(); !got.bytes.empty(); got = machine.good->receive()) {
                if (load_mac(&got.bytes[6]) == GuardedMachine::peer) {
                    received = WatchedWire::sequence_of(got.bytes) == 0;
                }
                machine.good->release();
            }
        }
        VG_CHECK(received && machine.wire.good_frames == frames);
        VG_CHECK(machine.good->reclaim() <= frames);
    }

public:
    GuardedMachine machine;
    HostileVf<ByteInput> vf;
};

// Registers, resets, interrupts, configuration space.
inline int nic_registers(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    ByteInput input{data};
    NicUnderTest test{input, VfKind::hyper_v};
    test.run(
        input,
        [](HostileVf<ByteInput>& vf, ByteInput& in) {
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
                    return vf.reset(in);
                case 7:
                    return vf.configuration(in);
                case 8:
                    return vf.storm(in);
                default:
                    return vf.write_register(in);
            }
        },
        done);
    return 0;
}

// Descriptors of queues that were set up well, and what they lead to.
inline int nic_descriptors(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    ByteInput input{data};
    NicUnderTest test{input, VfKind::hyper_v};
    for (const unsigned queue : {0u, 1u}) test.vf.set_up_plainly(queue);
    test.run(
        input,
        [](HostileVf<ByteInput>& vf, ByteInput& in) {
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
        },
        done);
    return 0;
}

// Messages to the host's driver, which answers whenever it looks.
inline int nic_mailbox(std::span<const std::uint8_t> data, NicDone* done = nullptr) {
    ByteInput input{data};
    NicUnderTest test{input, VfKind::mailbox};
    test.run(
        input,
        [](HostileVf<ByteInput>& vf, ByteInput& in) {
            switch (in.byte() % 12) {
                case 0:
                    return vf.reset(in);
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
        },
        done);
    return 0;
}

}  // namespace fuzz
