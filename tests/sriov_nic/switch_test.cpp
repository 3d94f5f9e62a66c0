// The embedded switch: who gets a frame, by table; VLANs, hashes, replication, VEPA, spoofing, mirrors.
#include <doctest/doctest.h>

#include "tests/sriov_nic/rig.h"

namespace switch_test {

namespace {

using namespace nic_test;
using sim::Time;

// Three VFs with drivers; the physical function's pool is 3, its queues off, so that its frames are dropped and
// counted.
struct SwitchRig : Rig {
    explicit SwitchRig(PhysicalSettings wish = {}) : Rig(3, wish) {
        for (unsigned vf = 0; vf < 3; ++vf) open(vf);
        run(Time::us(10));
    }
    // Who got something since the last time, one bit each; bit 3 is the physical function, bit 7 the wire.
    unsigned got() {
        run(Time::us(20));
        unsigned who = 0;
        for (unsigned vf = 0; vf < 3; ++vf) {
            while (!drivers[vf]->receive().bytes.empty()) {
                who |= 1u << vf;
                drivers[vf]->release();
            }
        }
        const auto& s = controller.statistics();
        const std::uint64_t own = s.queue_dropped[6] + s.queue_dropped[7];
        if (own != host_before) who |= 8;
        if (wire.count != wire_before) who |= 128;
        host_before = own;
        wire_before = wire.count;
        return who;
    }
    unsigned arrives(const std::vector<std::byte>& f) {
        controller.received(f);
        return got();
    }
    unsigned leaves(unsigned vf, const std::vector<std::byte>& f) {
        REQUIRE(drivers[vf]->send(f));
        drivers[vf]->notify();
        return got();
    }
    void member(unsigned entry, std::uint32_t vlan, std::uint32_t pools) {
        controller.write(reg::vlvf + 4 * entry, vlvf::valid | vlan);
        controller.write(reg::vlvfb + 8 * entry, pools);
        controller.write(reg::vfta + 4 * (vlan >> 5), 1u << (vlan & 31));
    }
    std::uint64_t host_before = 0, wire_before = 0;
};

constexpr MacKey group = 0x0b0a'095e'0001;
constexpr unsigned wire_bit = 128, host = 8;

TEST_CASE("from the wire") {
    SwitchRig rig;
    CHECK(rig.arrives(frame(mac_of(0), stranger, 60)) == 1);
    CHECK(rig.arrives(frame(mac_of(2), stranger, 60)) == 4);
    CHECK(rig.arrives(frame(physical_mac, stranger, 60)) == host);
    CHECK(rig.arrives(frame(broadcast_mac, stranger, 60)) == (7 | host));
    CHECK(rig.arrives(frame(group, stranger, 60)) == 7);  // Hyper-V VFs get all multicast
    CHECK(rig.arrives(frame(stranger, mac_of(9), 60)) == 0);
    // Unknown addresses with promiscuous filters go to the default pool, unless there is none.
    rig.driver.set_promiscuous(true);
    CHECK(rig.arrives(frame(stranger, mac_of(9), 60)) == host);
    rig.controller.write(reg::vt_ctl, rig.controller.read(reg::vt_ctl) | vt_ctl::no_default_pool);
    CHECK(rig.arrives(frame(stranger, mac_of(9), 60)) == 0);
    // A unicast hash, and the pools that use it.
    rig.driver.set_promiscuous(false);
    const auto hash = static_cast<unsigned>(stranger >> 36) & 0xfff;
    rig.controller.write(reg::uta + 4 * (hash >> 5), 1u << (hash & 31));
    rig.controller.write(reg::vmolr + 4, rig.controller.read(reg::vmolr + 4) | vmolr::unicast_hash);
    CHECK(rig.arrives(frame(stranger, mac_of(9), 60)) == 2);
    // Without replication one pool only.
    rig.controller.write(reg::vt_ctl, rig.controller.read(reg::vt_ctl) & ~vt_ctl::replication);
    CHECK(rig.arrives(frame(broadcast_mac, stranger, 60)) == 1);
    // Broadcasts only with the filter's consent.
    rig.controller.write(reg::fctrl, 0);
    CHECK(rig.arrives(frame(broadcast_mac, stranger, 60)) == 0);
    CHECK(rig.arrives(frame(mac_of(1), stranger, 60)) == 2);
}

TEST_CASE("VLANs") {
    SwitchRig rig;
    rig.member(5, 100, 0b011);
    rig.member(6, 200, 0b100);
    CHECK(rig.arrives(tagged(frame(broadcast_mac, stranger, 60), 100)) == 3);
    CHECK(rig.arrives(tagged(frame(broadcast_mac, stranger, 60), 200)) == 4);
    CHECK(rig.arrives(tagged(frame(broadcast_mac, stranger, 60), 0xe064)) == 3);  // the priority does not count
    CHECK(rig.arrives(tagged(frame(broadcast_mac, stranger, 60), 300)) == 0);
    CHECK(rig.arrives(tagged(frame(mac_of(2), stranger, 60), 200)) == 4);
    CHECK(rig.arrives(tagged(frame(mac_of(2), stranger, 60), 100)) == host);  // the default pool's
    CHECK(rig.arrives(tagged(frame(broadcast_mac, stranger, 60), 0)) == (7 | host));
    // Between VFs: a member's frame goes to members, and to the wire if it is for many.
    CHECK(rig.leaves(0, tagged(frame(broadcast_mac, mac_of(0), 60), 100)) == (2 | wire_bit));
    CHECK(rig.leaves(0, tagged(frame(mac_of(1), mac_of(0), 60), 100)) == 2);
    // A VLAN that is not its own is spoofing.
    CHECK(rig.leaves(0, tagged(frame(mac_of(2), mac_of(0), 60), 200)) == 0);
    CHECK(rig.controller.read(reg::ssvpc) == 1);
    // A pool that takes no untagged frames.
    rig.controller.write(reg::vmolr, rig.controller.read(reg::vmolr) & ~vmolr::untagged);
    CHECK(rig.arrives(frame(broadcast_mac, stranger, 60)) == (6 | host));
}

TEST_CASE("from a VF") {
    SwitchRig rig;
    CHECK(rig.leaves(0, frame(mac_of(1), mac_of(0), 60)) == 2);
    CHECK(rig.leaves(0, frame(stranger, mac_of(0), 60)) == wire_bit);
    CHECK(rig.leaves(0, frame(physical_mac, mac_of(0), 60)) == host);
    CHECK(rig.leaves(1, frame(broadcast_mac, mac_of(1), 60)) == (5 | host | wire_bit));
    CHECK(rig.leaves(1, frame(group, mac_of(1), 60)) == (5 | wire_bit));
    // Its own address: nobody inside but itself, so the frame leaves; unless it may talk to itself.
    CHECK(rig.leaves(1, frame(mac_of(1), mac_of(1), 60)) == wire_bit);
    rig.controller.write(reg::vmtxsw, 2);
    CHECK(rig.leaves(1, frame(mac_of(1), mac_of(1), 60)) == 2);
    // Spoofed source addresses, counted where it is wished.
    CHECK(rig.leaves(1, frame(mac_of(0), mac_of(2), 60)) == 0);
    CHECK(rig.leaves(1, frame(mac_of(0), stranger, 60)) == 0);
    CHECK(rig.controller.read(reg::ssvpc) == 2);
    CHECK(rig.controller.read(reg::ssvpc) == 0);
    VfPolicy policy = rig.driver.policy(1);
    policy.spoof_check = false;
    rig.driver.set_policy(1, policy);
    CHECK(rig.leaves(1, frame(mac_of(0), stranger, 60)) == 1);
    // The wire is down: inside, all goes on.
    rig.controller.set_link(false);
    CHECK(rig.leaves(0, frame(mac_of(1), mac_of(0), 60)) == 2);
    CHECK(rig.leaves(0, frame(stranger, mac_of(0), 60)) == 0);
    CHECK(rig.controller.statistics().link_down_drops == 1);
}

TEST_CASE("VEPA: all leaves by the wire") {
    PhysicalSettings settings;
    settings.uplink = Uplink::vepa;
    SwitchRig rig{settings};
    CHECK(rig.leaves(0, frame(mac_of(1), mac_of(0), 60)) == wire_bit);
    CHECK(rig.leaves(0, frame(broadcast_mac, mac_of(0), 60)) == wire_bit);
    CHECK(rig.arrives(frame(mac_of(1), mac_of(0), 60)) == 2);
}

TEST_CASE("mirrors") {
    struct Row {
        const char* why;
        std::uint32_t rule, pools, vlans;
        unsigned from_wire, from_vf, inside;
    };
    const Row rows[] = {
        {"none", 0, 0, 0, 1, wire_bit, 2},
        {"VF 0's traffic", mrctl::pools, 1, 0, 5, wire_bit, 2},
        {"VF 1's traffic", mrctl::pools, 2, 0, 1, wire_bit, 6},
        {"what comes from the wire", mrctl::uplink, 0, 0, 5, wire_bit, 2},
        {"what leaves by the wire", mrctl::downlink, 0, 0, 1, 4 | wire_bit, 2},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        SwitchRig rig;
        rig.controller.write(reg::vmrvm, row.pools);
        rig.controller.write(reg::mrctl, row.rule | 2u << 8);
        CHECK(rig.arrives(frame(mac_of(0), stranger, 60)) == row.from_wire);
        CHECK(rig.leaves(0, frame(stranger, mac_of(0), 60)) == row.from_vf);
        CHECK(rig.leaves(0, frame(mac_of(1), mac_of(0), 60)) == row.inside);
    }
    SwitchRig rig;
    rig.member(5, 100, 0b011);
    rig.controller.write(reg::vmrvlan, 1u << 5);
    rig.controller.write(reg::mrctl, mrctl::vlans | 2u << 8);
    CHECK(rig.arrives(tagged(frame(mac_of(0), stranger, 60), 100)) == 5);
    CHECK(rig.arrives(frame(mac_of(0), stranger, 60)) == 1);
}

TEST_CASE("a filter may name a pool that is not there") {
    PhysicalSettings four;
    four.queues_per_pool = 4;
    Rig rig{3, four};
    rig.driver.set_promiscuous(true);
    rig.controller.write(reg::vt_ctl, vt_ctl::enable | vt_ctl::replication | 40u << 7);
    rig.controller.write(reg::mrctl, mrctl::uplink | 63u << 8);
    const Statistics before = rig.controller.statistics();
    rig.controller.received(frame(stranger, mac_of(0xef), 100));
    rig.run(Time::us(10));
    const Statistics& after = rig.controller.statistics();
    CHECK(after.filtered == before.filtered + 2);
    CHECK(after.queue_dropped == before.queue_dropped);
    CHECK(after.queue_sent == before.queue_sent);
    CHECK(rig.controller.receive_buffered() == 0);
    // Nor can there be so many functions.
    PhysicalSettings many = four;
    many.vfs = 40;
    rig.driver.start(many);
    CHECK(rig.driver.physical_pool() == 31);
}

}  // namespace

}  // namespace switch_test
