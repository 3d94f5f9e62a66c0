// The virtual PCI bus: messages byte by byte in every version, arrival and removal, guests that cheat.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sim/archive.h"
#include "sim/random.h"
#include "tests/vmbus/integration_fixture.h"
#include "vmbus/virtual_pci/virtual_pci.h"

namespace virtual_pci_test {

using namespace vmbus;
using namespace vmbus::testing;
using namespace vmbus::virtual_pci;
namespace status = vmbus::virtual_pci::status;

namespace {

using Log = std::vector<std::string>;

std::string text(std::uint64_t value) {
    return std::to_string(value);
}

struct Function final : VirtualPciFunction {
    Log log;
    bool willing = true;
    VirtualPci* bus = nullptr;  // rescinds within ejected()

    std::array<std::uint32_t, bars> bar_masks() override {
        return {0xffff'c004, 0xffff'ffff, 0, 0xffff'c004, 0xffff'ffff, 0};
    }
    bool place_window(std::uint64_t gpa) override {
        log.push_back("window " + text(gpa));
        return willing;
    }
    void remove_window() override { log.push_back("no window"); }
    std::optional<PciMessage> create_interrupt(const PciInterrupt& i) override {
        log.push_back("create " + text(i.vector) + " mode " + text(i.delivery_mode) + " x" + text(i.count) + " on " +
                      text(i.processors));
        if (!willing) return std::nullopt;
        return PciMessage{0xfee0'1230, 0x55, i.count};
    }
    void delete_interrupt(const PciMessage& m) override {
        log.push_back("delete " + text(m.address) + " " + text(m.data) + " x" + text(m.count));
    }
    void ejected() override {
        log.push_back("ejected");
        if (bus != nullptr) bus->rescind();
    }
};

constexpr PciIdentity identity{.vendor = 0x8086,
                               .device = 0x152e,
                               .revision = 1,
                               .programming_interface = 0,
                               .class_of = 0x0200,
                               .subsystem_vendor = 0x8086,
                               .subsystem = 0x000c,
                               .serial = 7,
                               .numa_node = 1};

struct Fixture {
    Root root;
    Function function;
    VirtualPci bus;

    explicit Fixture(std::uint32_t newest = version_1_4)
        : bus(root.scope("pci"), root.host(), 0x0102, function, newest) {
        bus.offer(identity);
    }
    ScriptedChannel& channel() { return root.channel(root.bus.channels.size() - 1); }

    // A request and its completion's bytes.
    Bytes ask(Type type, const Bytes& body) {
        put(type, body, true);
        const auto answer = channel().take();
        CHECK(answer.completion);
        CHECK(answer.transaction == transaction);
        return answer.bytes;
    }
    void put(Type type, const Bytes& body, bool wants_completion = false) {
        ByteBuilder message;
        message.u32(static_cast<std::uint32_t>(type)).bytes(body);
        channel().put(message.take(), ++transaction, wants_completion);
        root.settle();
    }
    std::uint32_t status(Type type, const Bytes& body) {
        const Bytes answer = ask(type, body);
        return ByteReader{answer}.u32();
    }
    // Up to where the function is known and in D0.
    void start(std::uint32_t version = version_1_4) {
        channel().open();
        CHECK(status(Type::query_protocol_version, ByteBuilder{}.u32(version).take()) == status::success);
        put(Type::query_bus_relations, {});
        channel().take();
        CHECK(status(Type::bus_d0_entry, d0(0xf900'0000)) == status::success);
    }
    static Bytes d0(std::uint64_t window) { return ByteBuilder{}.u32(0).u64(window).take(); }

    std::uint64_t transaction = 0;
};

Bytes slot(std::uint32_t value = 0) {
    return ByteBuilder{}.u32(value).take();
}

Bytes interrupt3(std::uint32_t vector, std::uint8_t mode, std::uint16_t count, std::vector<std::uint16_t> processors) {
    ByteBuilder body;
    body.u32(0).u32(vector).u8(mode).u8(0).u16(count).u16(static_cast<std::uint16_t>(processors.size()));
    for (const std::uint16_t processor : processors) body.u16(processor);
    return body.zeros(2 * (32 - std::min<std::size_t>(32, processors.size()))).take();
}

}  // namespace

TEST_CASE("the instance says the domain and the device's identifier") {
    Fixture f;
    CHECK(f.channel().offer().type == interface_type::pci);
    CHECK(f.channel().offer().instance.bytes[4] == 0x02);
    CHECK(f.channel().offer().instance.bytes[5] == 0x01);
    CHECK(VirtualPci::device_id_of(0x0102) == 0x0102'0000);
    CHECK(VirtualPci::device_id_of(1) == 0x0001'0000);
    CHECK(VirtualPci::instance_of(1) != VirtualPci::instance_of(2));
}

TEST_CASE("versions that a guest may ask for") {
    struct Row {
        std::uint32_t newest, asked, status;
    };
    for (const Row& row :
         {Row{version_1_4, version_1_4, status::success}, Row{version_1_4, version_1_1, status::success},
          Row{version_1_2, version_1_4, status::revision_mismatch},
          Row{version_1_2, version_1_3, status::revision_mismatch}, Row{version_1_2, version_1_2, status::success},
          Row{version_1_4, 0x0001'0005, status::revision_mismatch},
          Row{version_1_4, 0x0001'0000, status::revision_mismatch}, Row{version_1_4, 0, status::revision_mismatch}}) {
        CAPTURE(row.asked);
        Fixture f{row.newest};
        f.channel().open();
        CHECK(f.ask(Type::query_protocol_version, ByteBuilder{}.u32(row.asked).take()) ==
              ByteBuilder{}.u32(row.status).u32(row.newest).take());
        CHECK(f.bus.version() == (row.status == status::success ? row.asked : 0));
    }
}

TEST_CASE("relations, byte by byte") {
    const Bytes function = hex({0x86, 0x80, 0x2e, 0x15, 1, 0, 0, 2, 0x86, 0x80, 0x0c, 0, 0, 0, 0, 0, 7, 0, 0, 0});
    const Bytes node = hex({1, 0, 0, 0, 1, 0, 0, 0});
    struct Row {
        std::uint32_t version;
        int number;
        bool node;
    };
    for (const Row& row : {Row{version_1_1, 0, false}, Row{version_1_2, 0, false}, Row{version_1_3, 0x19, true},
                           Row{version_1_4, 0x19, true}}) {
        CAPTURE(row.version);
        Fixture f;
        f.channel().open();
        f.status(Type::query_protocol_version, ByteBuilder{}.u32(row.version).take());
        f.put(Type::query_bus_relations, {});
        const auto sent = f.channel().take();
        CHECK_FALSE(sent.completion);
        Bytes expected = hex({row.number, 0, 0x49, 0x42, 1, 0, 0, 0});
        expected.insert(expected.end(), function.begin(), function.end());
        if (row.node) expected.insert(expected.end(), node.begin(), node.end());
        CHECK(sent.bytes == expected);
        CHECK(f.channel().sent.empty());  // not completed: nobody asked for it
    }
}

TEST_CASE("requirements, D0 and what is only acknowledged") {
    Fixture f;
    f.start();
    CHECK(f.bus.in_d0());
    CHECK(f.ask(Type::query_resource_requirements, slot()) ==
          ByteBuilder{}.u32(0).u32(0xffff'c004).u32(~0u).u32(0).u32(0xffff'c004).u32(~0u).u32(0).u32(0).take());
    CHECK(f.ask(Type::resources_assigned2, ByteBuilder{}.zeros(198).take()) == hex({0, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(f.status(Type::bus_d0_entry, Fixture::d0(0xf910'0000)) == status::invalid_device_state);
    CHECK(f.status(Type::bus_d0_exit, {}) == status::success);
    CHECK(f.status(Type::bus_d0_exit, {}) == status::success);
    CHECK(f.status(Type::bus_d0_entry, Fixture::d0(0xf910'0800)) == status::invalid_parameter);
    f.function.willing = false;
    CHECK(f.status(Type::bus_d0_entry, Fixture::d0(0xf910'0000)) == status::invalid_parameter);
    CHECK_FALSE(f.bus.in_d0());
    CHECK(f.status(Type::read_block, ByteBuilder{}.zeros(12).take()) == status::not_supported);
    CHECK(f.status(Type::power_state_change, ByteBuilder{}.zeros(8).take()) == status::not_supported);
    CHECK(f.status(Type::query_resource_requirements, slot(1)) == status::no_such_device);
    f.put(Type::resources_released, slot());
    CHECK(f.channel().sent.empty());
    CHECK(f.function.log == Log{"window 4177526784", "no window", "window 4178575360"});
}

TEST_CASE("interrupts in each version's form") {
    const Bytes reply = hex({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x55, 0, 0, 0, 0x30, 0x12, 0xe0, 0xfe, 0, 0, 0, 0});
    struct Row {
        std::uint32_t version;
        Type type;
        Bytes body;
        std::string expected;
    };
    ByteBuilder second;
    second.u32(0).u8(0x31).u8(0).u16(2).u16(2).u16(0).u16(3).zeros(60);
    const Row rows[] = {
        {version_1_1, Type::create_interrupt, ByteBuilder{}.u32(0).u8(0x31).u8(1).u16(2).u32(0).u64(0x5).take(),
         "create 49 mode 1 x2 on 5"},
        {version_1_2, Type::create_interrupt2, second.take(), "create 49 mode 0 x2 on 9"},
        {version_1_4, Type::create_interrupt3, interrupt3(0x1'0031, 0, 2, {2, 63}),
         "create 65585 mode 0 x2 on 9223372036854775812"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.version);
        Fixture f;
        f.start(row.version);
        CHECK(f.ask(row.type, row.body) == reply);
        CHECK(f.function.log.back() == row.expected);
        f.put(Type::delete_interrupt, ByteBuilder{}.u32(0).u16(0).u16(2).u32(0x55).u64(0xfee0'1230).take());
        CHECK(f.function.log.back() == "delete 4276097584 85 x2");
        CHECK(f.channel().sent.empty());
        f.function.willing = false;
        CHECK(f.status(row.type, row.body) == status::insufficient_resources);
    }
}

TEST_CASE("interrupts that cannot be") {
    Fixture f;
    f.start();
    struct Row {
        const char* reason;
        Bytes body;
    };
    ByteBuilder endless;
    endless.u32(0).u32(0x30).u8(0).u8(0).u16(1).u16(0xffff).zeros(64);
    ByteBuilder cut;
    cut.u32(0).u32(0x30).u8(0).u8(0).u16(1).u16(8).u16(1);
    const Row rows[] = {
        {"no processor", interrupt3(0x30, 0, 1, {})},
        {"a processor that no partition has", interrupt3(0x30, 0, 1, {64})},
        {"no message", interrupt3(0x30, 0, 0, {0})},
        {"three messages", interrupt3(0x30, 0, 3, {0})},
        {"more messages than MSI has", interrupt3(0x30, 0, 64, {0})},
        {"more processors than fit", endless.take()},
        {"fewer processors than stated", cut.take()},
    };
    const std::size_t before = f.function.log.size();
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        const Bytes answer = f.ask(Type::create_interrupt3, row.body);
        CHECK(answer.size() == 24);
        CHECK(ByteReader{answer}.u32() == status::invalid_parameter);
    }
    CHECK(f.status(Type::create_interrupt, ByteBuilder{}.u32(0).zeros(20).take()) == status::not_supported);
    CHECK(f.function.log.size() == before);
}

TEST_CASE("ejection: asked, answered, the channel goes and comes again") {
    Fixture f;
    f.function.bus = &f.bus;
    f.start();
    f.bus.eject();
    f.root.settle();
    CHECK(f.channel().take().bytes == hex({0x0b, 0, 0x49, 0x42, 0, 0, 0, 0}));
    f.bus.eject();  // once is enough
    f.root.settle();
    CHECK(f.channel().sent.empty());
    // The list is empty from now on, and long enough to be looked at.
    f.put(Type::query_bus_relations, {});
    CHECK(f.channel().take().bytes == hex({0x19, 0, 0x49, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    f.put(Type::ejection_complete, ByteBuilder{}.u32(0).u32(0).take());
    CHECK(f.function.log == Log{"window 4177526784", "ejected", "no window"});
    CHECK(f.channel().rescinded);
    CHECK_FALSE(f.bus.offered());
    f.root.bus.release(0);
    PciIdentity again = identity;
    again.serial = 8;
    f.bus.offer(again);
    CHECK(f.root.bus.channels.size() == 2);
    f.start();
    CHECK(f.bus.in_d0());
}

TEST_CASE("ejection of a function that the guest does not know yet") {
    Fixture f;
    f.function.bus = &f.bus;
    SUBCASE("never opened") {}
    SUBCASE("no relations asked for") {
        f.channel().open();
        f.status(Type::query_protocol_version, ByteBuilder{}.u32(version_1_4).take());
    }
    f.bus.eject();
    CHECK(f.function.log == Log{"ejected"});
    CHECK(f.channel().rescinded);
}

TEST_CASE("a guest that closes the channel instead of answering has let go") {
    Fixture f;
    f.start();
    f.bus.eject();
    f.channel().close();
    CHECK(f.function.log == Log{"window 4177526784", "no window", "ejected"});
    CHECK(f.bus.version() == 0);
}

TEST_CASE("surprise") {
    Fixture f;
    f.start();
    f.bus.rescind();
    CHECK(f.function.log == Log{"window 4177526784", "no window"});
    CHECK(f.channel().rescinded);
    f.bus.rescind();
    f.bus.eject();
    CHECK(f.function.log.size() == 2);
    // The old channel's end comes after the next one's beginning.
    f.bus.offer(identity);
    f.root.bus.release(0);
    f.start();
    CHECK(f.bus.in_d0());
}

TEST_CASE("guests that break the protocol lose the channel") {
    struct Row {
        const char* reason;
        Bytes message;
        bool wants_completion;
    };
    const auto of = [](Type type, std::size_t body) {
        return ByteBuilder{}.u32(static_cast<std::uint32_t>(type)).zeros(body).take();
    };
    const Row rows[] = {
        {"nothing", {}, false},
        {"an unknown type", ByteBuilder{}.u32(0x4249'00ff).u32(0).take(), true},
        {"a host's message", of(Type::bus_relations, 4), false},
        {"a host's request", of(Type::eject, 4), false},
        {"too short a D0 entry", of(Type::bus_d0_entry, 4), true},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.reason});
        Fixture f;
        f.start();
        f.channel().put(row.message, 1, row.wants_completion);
        f.root.settle();
        CHECK_FALSE(f.channel().fault_reason.empty());
        CHECK_FALSE(f.bus.in_d0());
    }
    Fixture early;
    early.channel().open();
    early.put(Type::query_bus_relations, {});
    CHECK_FALSE(early.channel().fault_reason.empty());
}

TEST_CASE("a checkpoint in D0 goes on as before") {
    Fixture a;
    a.start(version_1_3);
    a.bus.eject();
    const auto bytes = sim::save_to_bytes(a.bus);
    Fixture b;
    sim::restore_from_bytes(b.bus, bytes);
    CHECK(b.bus.version() == version_1_3);
    CHECK(b.bus.in_d0());
    CHECK(b.bus.ejecting());
    CHECK(sim::save_to_bytes(b.bus) == bytes);
}

// Numbers of messages, and of bodies as long as they may be, more or less; the host acts in between.
TEST_CASE("hostile guests: 50,000 packets") {
    sim::Random random{7};
    std::uint64_t answered = 0, faults = 0;
    for (unsigned turn = 0; turn < 50; ++turn) {
        Fixture f;
        f.function.bus = random.one_in(2) ? &f.bus : nullptr;
        f.start(versions[random.below(versions.size())]);
        for (unsigned n = 0; n < 1000; ++n) {
            if (f.channel().rescinded) {
                ++faults;
                if (f.bus.offered()) break;
                f.root.bus.release(f.root.bus.channels.size() - 1);
                f.function.willing = true;
                f.bus.offer(identity);
                f.start();
            }
            const auto& row = messages[random.below(messages.size())];
            ByteBuilder packet;
            packet.u32(random.one_in(500) ? static_cast<std::uint32_t>(random.next_u64()) : row.type);
            const std::uint64_t body = random.one_in(200) ? random.below(16) : row.least_bytes + random.below(80);
            for (std::uint64_t b = 0; b < body; ++b) {
                packet.u8(random.one_in(3) ? static_cast<std::uint8_t>(random.next_u64()) : 0);
            }
            f.function.willing = !random.one_in(4);
            f.function.log.clear();
            if (row.direction == inband::Direction::to_guest && !random.one_in(500)) continue;
            f.channel().put(packet.take(), n, random.one_in(2));
            if (random.one_in(300)) f.bus.eject();
            if (random.one_in(500)) f.bus.rescind();
            f.root.settle();
            answered += f.channel().sent.size();
            f.channel().sent.clear();
        }
    }
    CHECK(answered > 5'000);
    CHECK(faults > 10);
}

}  // namespace virtual_pci_test
