// The mailbox: ownership, reset, and what each message is answered, under each policy and API.
#include <doctest/doctest.h>

#include "tests/sriov_nic/rig.h"

namespace mailbox_test {

namespace {

using namespace nic_test;
using Words = std::vector<std::uint32_t>;

constexpr std::uint32_t ok = message::success | message::clear_to_send, no = message::failure | message::clear_to_send;

struct MailboxRig : Rig {
    explicit MailboxRig(PhysicalSettings wish = {}) : Rig(2, wish, VfKind::mailbox) {}
    VirtualRegisters& vf(unsigned n) { return *registers[n]; }

    // What a VF's driver does: takes the buffer, writes, asks; the physical driver's interrupt follows.
    Words ask(unsigned n, const Words& words, std::size_t answer_words = 1) {
        vf(n).write_register(vf_reg::mailbox, mailbox::vf_owns);
        CHECK((vf(n).read_register(vf_reg::mailbox) & mailbox::vf_owns) != 0);
        for (std::uint32_t i = 0; i < words.size(); ++i) vf(n).write_register(vf_reg::mbmem + 4 * i, words[i]);
        vf(n).write_register(vf_reg::mailbox, mailbox::request);
        driver.interrupt();
        const std::uint32_t bits = vf(n).read_register(vf_reg::mailbox);
        CHECK((bits & (mailbox::pf_status | mailbox::pf_acknowledge)) ==
              (mailbox::pf_status | mailbox::pf_acknowledge));
        CHECK((vf(n).read_register(vf_reg::mailbox) & mailbox::clear_on_read) == 0);
        Words answer;
        for (std::uint32_t i = 0; i < answer_words; ++i) {
            answer.push_back(vf(n).read_register(vf_reg::mbmem + 4 * i));
        }
        vf(n).write_register(vf_reg::mailbox, mailbox::acknowledge);
        driver.interrupt();
        return answer;
    }
    void reset(unsigned n) {
        vf(n).write_register(vf_reg::ctrl, ctrl::reset);
        driver.interrupt();
        CHECK((vf(n).read_register(vf_reg::mailbox) & (mailbox::reset_indication | mailbox::reset_done)) == 0);
        ask(n, {message::reset});
    }
    void policy(unsigned n, const VfPolicy& p) { driver.set_policy(n, p); }
};

TEST_CASE("a VF's reset gives its address, or tells it to take one") {
    MailboxRig rig;
    // The physical reset is over: the VF sees it once.
    CHECK(rig.vf(0).read_register(vf_reg::mailbox) == mailbox::reset_done);
    CHECK(rig.vf(0).read_register(vf_reg::mailbox) == 0);
    // Before its reset a VF gets nothing.
    CHECK(rig.ask(0, {message::get_queues}) == Words{message::get_queues | message::failure});
    rig.vf(0).write_register(vf_reg::ctrl, ctrl::reset);
    CHECK(rig.controller.read(reg::vflre) == 1);
    rig.driver.interrupt();
    CHECK(rig.controller.read(reg::vflre) == 0);
    CHECK(rig.ask(0, {message::reset}, 4) == Words{message::reset | message::success, 0x0000'0002, 0x0000, 0});
    CHECK(rig.driver.mac_of(0) == mac_of(0));
    CHECK((rig.controller.read(reg::vfte) & 1) == 1);
    CHECK((rig.controller.read(reg::vfre) & 1) == 1);
    VfPolicy free;
    rig.policy(1, free);
    rig.vf(1).write_register(vf_reg::ctrl, ctrl::reset);
    rig.driver.interrupt();
    CHECK(rig.ask(1, {message::reset}, 4) == Words{message::reset | message::failure, 0, 0, 0});
    CHECK(rig.ask(1, {message::set_mac, 0x4433'2202, 0x6655}) == Words{message::set_mac | ok});
    CHECK(rig.driver.mac_of(1) == 0x6655'4433'2202);
}

TEST_CASE("messages and their answers") {
    VfPolicy plain;
    plain.mac = mac_of(0);
    VfPolicy trusted = plain;
    trusted.trusted = true;
    VfPolicy in_vlan = plain;
    in_vlan.vlan = 7;
    VfPolicy asks_hash = plain;
    asks_hash.hash_query = true;
    VfPolicy off = plain;
    off.link = LinkState::disabled;
    struct Row {
        const char* why;
        const VfPolicy& policy;
        Api api;
        Words words;
        Words answer;
    };
    const Row rows[] = {
        {"every API up to 1.5", plain, Api::v1_0, {8, 6}, {8 | ok, 6}},
        {"2.0 is another driver's", plain, Api::v1_0, {8, 1}, {8 | no, 1}},
        {"nothing newer", plain, Api::v1_0, {8, 7}, {8 | no, 7}},
        {"queues from 1.1 on", plain, Api::v1_0, {9}, {9 | no}},
        {"two queues, no tag", plain, Api::v1_1, {9}, {9 | ok, 2, 2, 0, 0}},
        {"two queues, tag to strip", in_vlan, Api::v1_1, {9}, {9 | ok, 2, 2, 1, 0}},
        {"its own address", plain, Api::v1_4, {2, 0x0000'0002, 0x0000}, {2 | ok}},
        {"another than the administrator's", plain, Api::v1_4, {2, 0x0000'0002, 0x9900}, {2 | no}},
        {"but whom one trusts", trusted, Api::v1_4, {2, 0x0000'0002, 0x9900}, {2 | ok}},
        {"a multicast address is none", trusted, Api::v1_4, {2, 0x0000'0003, 0x9900}, {2 | no}},
        {"two hashes", plain, Api::v1_4, {3 | 2u << 16, 0x0fff'0123}, {3 | 2u << 16 | ok}},
        {"a VLAN", plain, Api::v1_4, {4 | 1u << 16, 100}, {4 | 1u << 16 | ok}},
        {"VLAN 0 stays", plain, Api::v1_4, {4, 0}, {4 | ok}},
        {"not beside the administrator's", in_vlan, Api::v1_4, {4 | 1u << 16, 100}, {4 | 1u << 16 | no}},
        {"the usual size", plain, Api::v1_0, {5, 1518}, {5 | ok}},
        {"no jumbo frames", plain, Api::v1_4, {5, 9000}, {5 | no}},
        {"nor nonsense", plain, Api::v1_4, {5, 10}, {5 | no}},
        {"a filter", plain, Api::v1_4, {6 | 1u << 16, 0x0000'0002, 0x7700}, {6 | 1u << 16 | no}},
        {"a filter of the trusted", trusted, Api::v1_4, {6 | 1u << 16, 0x0000'0002, 0x7700}, {6 | 1u << 16 | ok}},
        {"no filters", plain, Api::v1_4, {6, 0, 0}, {6 | ok}},
        {"redirection is secret", plain, Api::v1_4, {10}, {10 | no}},
        {"or not", asks_hash, Api::v1_4, {10}, {10 | ok, 0x4444'4444, 0x4444'4444, 0x4444'4444}},
        {"not before 1.2", asks_hash, Api::v1_1, {10}, {10 | no}},
        {"the key", asks_hash, Api::v1_4, {11}, {11 | ok, 0xda56'5a6d, 0xc20e'5b25}},
        {"multicast", plain, Api::v1_4, {12, 1}, {12 | ok, 1}},
        {"all multicast is cut down", plain, Api::v1_4, {12, 2}, {12 | ok, 1}},
        {"but for the trusted", trusted, Api::v1_4, {12, 2}, {12 | ok, 2}},
        {"promiscuous is not this adapter's", trusted, Api::v1_4, {12, 3}, {12 | no, 3}},
        {"nor known to 1.2", trusted, Api::v1_2, {12, 3}, {12 | no, 3}},
        {"cast modes from 1.2 on", plain, Api::v1_1, {12, 1}, {12 | no, 1}},
        {"IPsec", plain, Api::v1_4, {13}, {13 | no}},
        {"link", plain, Api::v1_4, {16}, {16 | ok, 1}},
        {"link switched off", off, Api::v1_4, {16}, {16 | ok, 0}},
        {"unheard of", plain, Api::v1_4, {0x77}, {0x77 | no}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        MailboxRig rig;
        rig.policy(0, row.policy);
        rig.reset(0);
        if (row.api != Api::v1_0) rig.ask(0, {message::negotiate_api, static_cast<std::uint32_t>(row.api)});
        CHECK(rig.ask(0, row.words, row.answer.size()) == row.answer);
    }
}

TEST_CASE("what is granted acts") {
    MailboxRig rig;
    rig.reset(0);
    QueueDriver& vf = rig.open(0);
    rig.run(sim::Time::us(10));
    constexpr MacKey wire_group = 0x0b0a'095e'0001;  // 01:00:5e:09:0a:0b
    const auto arrives = [&](const std::vector<std::byte>& f) {
        rig.controller.received(f);
        rig.run(sim::Time::us(10));
        const bool there = !vf.receive().bytes.empty();
        if (there) vf.release();
        return there;
    };
    CHECK(!arrives(frame(wire_group, stranger, 60)));
    // Bits 47:36 of the address, as the address' last twelve bits (MCSTCTRL.MO 0).
    const auto hash = static_cast<std::uint32_t>(wire_group >> 36) & 0xfff;
    rig.ask(0, {message::set_multicast | 1u << 16, hash});
    CHECK(arrives(frame(wire_group, stranger, 60)));
    CHECK(!arrives(tagged(frame(mac_of(0), stranger, 60), 100)));
    rig.ask(0, {message::set_vlan | 1u << 16, 100});
    CHECK(arrives(tagged(frame(mac_of(0), stranger, 60), 100)));
    rig.ask(0, {message::set_vlan, 100});
    CHECK(!arrives(tagged(frame(mac_of(0), stranger, 60), 100)));
    CHECK(arrives(frame(mac_of(0), stranger, 60)));
    // Link off: nothing in, nothing out; and the VF is told.
    VfPolicy policy = rig.driver.policy(0);
    policy.link = LinkState::disabled;
    rig.driver.set_policy(0, policy);
    CHECK((rig.vf(0).read_register(vf_reg::mailbox) & mailbox::pf_status) != 0);
    CHECK(rig.vf(0).read_register(vf_reg::mbmem) == (message::control | message::clear_to_send));
    CHECK(!arrives(frame(mac_of(0), stranger, 60)));
    REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
    vf.notify();
    rig.run(sim::Time::us(10));
    CHECK(rig.wire.frames.empty());
    policy.link = LinkState::automatic;
    rig.driver.set_policy(0, policy);
    rig.run(sim::Time::us(10));
    CHECK(rig.wire.frames.size() == 1);
    CHECK(arrives(frame(mac_of(0), stranger, 60)));
}

TEST_CASE("who is trusted does not get all of the adapter's addresses") {
    MailboxRig rig;
    VfPolicy trusted;
    trusted.mac = mac_of(0);
    trusted.trusted = true;
    rig.policy(0, trusted);
    rig.reset(0);
    const auto ask_for_all = [&] {
        unsigned granted = 0;
        for (std::uint32_t i = 0; i < 200; ++i) {
            const std::uint32_t type = message::set_mac_filter | (i == 0 ? 1u : 2u) << 16;
            granted += rig.ask(0, {type, 0x0000'0002, 0x7700 + i}) == Words{type | ok} ? 1 : 0;
        }
        return granted;
    };
    // Of 128 there stay one for each VF, and sixteen for the host.
    CHECK(ask_for_all() == 110);
    rig.reset(1);
    CHECK(rig.driver.mac_of(1) == mac_of(1));
    for (unsigned i = 0; i < 15; ++i) CHECK(rig.driver.add_host_address(mac_of(0x80 + i), rig.driver.physical_pool()));
    CHECK(!rig.driver.add_host_address(mac_of(0xa0), rig.driver.physical_pool()));
    // A new list is as long as the old one was, and without one there is room for the host.
    CHECK(ask_for_all() == 110);
    rig.ask(0, {message::set_mac_filter, 0, 0});
    CHECK(rig.driver.add_host_address(mac_of(0xa0), rig.driver.physical_pool()));
}

TEST_CASE("a VF that leaves its address leaves it, and not a filter for the same one") {
    MailboxRig rig;
    VfPolicy trusted;
    trusted.mac = mac_of(0);
    trusted.trusted = true;
    rig.policy(0, trusted);
    rig.reset(1);
    rig.reset(0);
    rig.vf(1).write_register(vf_reg::ctrl, ctrl::reset);
    rig.driver.interrupt();
    // In the place in front of its own that the other one gave up.
    rig.ask(0, {message::set_mac_filter | 1u << 16, 0x0000'0002, 0x0000});
    rig.ask(0, {message::set_mac, 0x0000'0002, 0x7700});
    rig.ask(0, {message::set_mac_filter, 0, 0});
    unsigned used = 0;
    for (std::uint32_t i = 0; i < 128; ++i) {
        const std::uint32_t at = i < 16 ? reg::rah + 8 * i : reg::rar_table + 4 + 8 * i;
        used += (rig.controller.read(at) & rah::valid) != 0 ? 1 : 0;
    }
    CHECK(used == 2);
}

TEST_CASE("who owns the buffer") {
    MailboxRig rig;
    // The VF holds it: the physical function cannot take it, but may take it away.
    rig.vf(0).read_register(vf_reg::mailbox);
    rig.vf(0).write_register(vf_reg::mailbox, mailbox::vf_owns);
    rig.controller.write(reg::pfmailbox, pf_mailbox::pf_owns);
    CHECK(rig.controller.read(reg::pfmailbox) == pf_mailbox::vf_owns);
    rig.controller.write(reg::pfmailbox, pf_mailbox::reset_vf_owns | pf_mailbox::pf_owns);
    CHECK(rig.controller.read(reg::pfmailbox) == pf_mailbox::pf_owns);
    rig.vf(0).write_register(vf_reg::mailbox, mailbox::vf_owns);
    CHECK(rig.vf(0).read_register(vf_reg::mailbox) == mailbox::pf_owns);
    // Mailboxes are apart.
    rig.vf(1).write_register(vf_reg::mbmem, 0x1234);
    CHECK(rig.vf(0).read_register(vf_reg::mbmem) == 0);
    CHECK(rig.controller.read(reg::pfmbmem + 64) == 0x1234);
}

TEST_CASE("jumbo frames need a VF that knows of them") {
    PhysicalSettings jumbo;
    jumbo.max_frame = 9018;
    MailboxRig rig{jumbo};
    rig.reset(0);
    CHECK((rig.controller.read(reg::vfre) & 1) == 0);
    rig.ask(0, {message::negotiate_api, static_cast<std::uint32_t>(Api::v1_3)});
    CHECK((rig.controller.read(reg::vfre) & 1) == 1);
    CHECK(rig.ask(0, {message::set_max_frame, 9000}) == Words{message::set_max_frame | ok});
}

TEST_CASE("thirty-two pools of four queues") {
    PhysicalSettings four;
    four.queues_per_pool = 4;
    MailboxRig rig{four};
    rig.reset(1);
    rig.ask(1, {message::negotiate_api, static_cast<std::uint32_t>(Api::v1_1)});
    CHECK(rig.ask(1, {message::get_queues}, 5) == Words{message::get_queues | ok, 4, 4, 0, 0});
    // Queue 3 of VF 1 is queue 7 of the adapter; there is no queue 4.
    rig.vf(1).write_register(0x1000 + 0x40 * 3 + 8, 0x2000);
    CHECK(rig.controller.read(0x1000 + 0x40 * 7 + 8) == 0x2000);
    rig.vf(1).write_register(0x1000 + 0x40 * 4 + 8, 0x2000);
    CHECK(rig.vf(1).read_register(0x1000 + 0x40 * 4 + 8) == 0);
    CHECK(rig.controller.read(0x1000 + 0x40 * 8 + 8) == 0);
}

}  // namespace

}  // namespace mailbox_test
