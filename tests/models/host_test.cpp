// The host from a scenario's side: what runs, how it ends, when it comes back, and what is refused.
#include "models/host.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "sim/check.h"
#include "sim/simulation.h"
#include "tiny_guest.h"

namespace host_test {

using models::GuestState;
using models::Host;
using models::HostConfig;
using sim::Time;

namespace {

// One instruction is a nanosecond, an exit a microsecond, the root's answer to an intercept five more.
HostConfig plain_host(unsigned cores = 1, std::uint64_t memory_bytes = 64 << 20) {
    HostConfig config;
    config.cores = cores;
    config.memory_bytes = memory_bytes;
    config.profile = "one-nanosecond";
    return config;
}

const std::function<bool()> nothing = [] { return false; };

struct OneGuest {
    explicit OneGuest(const TinyGuest& code, const HostConfig& config = plain_host())
        : host(Host::create(simulation, config)), guest(host->add_partition(code.partition("tiny"))) {}
    // Until the guest ends or nothing happens any more.
    Host::Stopped finish() {
        return host->run(
            Time::s(1), [this] { return guest.state() != GuestState::running; }, Time::never());
    }
    std::uint64_t count(const std::string& name) const {
        const auto& all = const_cast<sim::Simulation&>(simulation).statistics().all();
        const auto found = all.find("host.root.tiny." + name);
        return found == all.end() ? ~std::uint64_t{0} : found->second.counter.value();
    }

    sim::Simulation simulation{7};
    std::unique_ptr<Host> host;
    models::Guest& guest;
};

template <class Function>
std::string error_of(Function function) {
    try {
        function();
    } catch (const sim::UserError& error) {
        return error.what();
    }
    return "no error";
}

constexpr std::uint64_t crash_with_text = 1ull << 63 | 1ull << 62;

}  // namespace

TEST_CASE("how guests end") {
    struct Row {
        const char* what;
        TinyGuest guest;
        GuestState state;
        std::uint32_t exit_code;
        const char* console;
    };
    const Row rows[] = {
        {"the debug-exit port", TinyGuest{}.print("hi\n").exit(7), GuestState::debug_exit, 7, "hi\n"},
        {"a wide exit code", TinyGuest{}.exit(0xdead'beef), GuestState::debug_exit, 0xdead'beef, ""},
        {"an exit code of one byte", TinyGuest{}.out8(0xf4, 0x91), GuestState::debug_exit, 0x91, ""},
        {"ACPI sleep type 5", TinyGuest{}.print("off").out8(0x400, 0x34), GuestState::powered_off, 0, "off"},
        {"another sleep type is no power-off", TinyGuest{}.out8(0x400, 0x20).exit(3), GuestState::debug_exit, 3, ""},
        {"the ACPI reset register", TinyGuest{}.out8(0x433, 1), GuestState::reset, 0, ""},
        {"the keyboard controller", TinyGuest{}.out8(0x64, 0xfe), GuestState::reset, 0, ""},
        {"the reset control register", TinyGuest{}.out8(0xcf9, 2).out8(0xcf9, 6), GuestState::reset, 0, ""},
        {"the Hyper-V reset register", TinyGuest{}.wrmsr(0x4000'0003, 1), GuestState::reset, 0, ""},
        {"which wants bit 0", TinyGuest{}.wrmsr(0x4000'0003, 0).exit(4), GuestState::debug_exit, 4, ""},
        {"INT3 without an IDT", TinyGuest{}.bytes({0xcc}), GuestState::triple_fault, 0, ""},
        {"an instruction fetch where nothing is", TinyGuest{}.mov_eax(0xfe00'0000).bytes({0xff, 0xe0}),
         GuestState::triple_fault, 0, ""},
        {"the crash registers", TinyGuest{}.wrmsr(0x4000'0100, 5).wrmsr(0x4000'0105, 1ull << 63), GuestState::crashed,
         0, ""},
        {"which want the notify bit", TinyGuest{}.wrmsr(0x4000'0105, 0).exit(5), GuestState::debug_exit, 5, ""},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        OneGuest one{row.guest};
        CHECK(one.finish() == Host::Stopped::condition);
        CHECK(one.guest.state() == row.state);
        CHECK(one.guest.exit_code() == row.exit_code);
        CHECK(one.guest.console() == row.console);
        // Its partition is gone and leaves nothing that could still happen.
        const std::uint64_t instructions = one.guest.instructions();
        CHECK(instructions > 0);
        CHECK(one.host->run(Time::s(2), nothing, Time::never()) == Host::Stopped::idle);
        CHECK(one.guest.state() == row.state);
        CHECK(one.guest.instructions() == instructions);
        CHECK(one.count("instructions") == instructions);
    }
}

TEST_CASE("what a crashed guest says") {
    struct Row {
        const char* what;
        std::string text;
        std::uint64_t length;
        std::uint64_t control;
        std::string message;
    };
    const std::string parameters = "parameters 0x11 0x22 0x33 ";
    const Row rows[] = {
        {"the text", "out of luck\n", 12, crash_with_text, ": out of luck\n"},
        {"ends at a zero", std::string{"two\0parts", 9}, 9, crash_with_text, ": two"},
        {"without what a terminal can't print", "a\x1b[31mb\xff", 8, crash_with_text, ": a?[31mb?"},
        {"nothing", "", 0, crash_with_text, ""},
        {"not without its bit", "text", 4, 1ull << 63, ""},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        TinyGuest code;
        code.bytes({0xeb, static_cast<int>(row.text.size())});
        const std::uint32_t where = code.here();
        code.text(row.text);
        code.wrmsr(0x4000'0100, 0x11).wrmsr(0x4000'0101, 0x22).wrmsr(0x4000'0102, 0x33);
        code.wrmsr(0x4000'0103, where).wrmsr(0x4000'0104, row.length).wrmsr(0x4000'0105, row.control);
        OneGuest one{code};
        one.finish();
        CHECK(one.guest.state() == GuestState::crashed);
        const std::string numbers = fmt::format("{:#x} {:#x}", where, row.length);
        CHECK(one.guest.crash_message() == parameters + numbers + row.message);
    }
    SUBCASE("where it has no memory") {
        TinyGuest code;
        code.wrmsr(0x4000'0103, 0xffff'ffff'ffff'fff0).wrmsr(0x4000'0104, ~0ull).wrmsr(0x4000'0105, crash_with_text);
        OneGuest one{code};
        one.finish();
        CHECK(one.guest.crash_message() == "parameters 0x0 0x0 0x0 0xfffffffffffffff0 0xffffffffffffffff");
    }
    SUBCASE("4 KiB of it, the last") {
        TinyGuest code;
        // 8 KiB of 'a' and 'b' from 2 MiB on: the second half has the b's.
        code.bytes({0xfc}).mov_edi(2 << 20).mov_eax('a').mov_ecx(4096).bytes({0xf3, 0xaa});
        code.mov_eax('b').mov_ecx(4096).bytes({0xf3, 0xaa});
        code.wrmsr(0x4000'0103, 2 << 20).wrmsr(0x4000'0104, 8192).wrmsr(0x4000'0105, crash_with_text);
        OneGuest one{code};
        one.finish();
        CHECK(one.guest.crash_message() == "parameters 0x0 0x0 0x0 0x200000 0x2000: " + std::string(4096, 'b'));
    }
}

TEST_CASE("device memory and string I/O") {
    struct Row {
        const char* what;
        TinyGuest guest;
        std::uint32_t exit_code;
        const char* console;
    };
    const auto outs = [](int direction, std::uint32_t first, std::uint32_t count) {
        TinyGuest code;
        code.bytes({0xeb, 6}).text("abcdef").mov_esi(TinyGuest::entry + 2 + first).mov_ecx(count).mov_edx(0x3f8);
        return code.bytes({direction, 0xf3, 0x6e});
    };
    const Row rows[] = {
        {"the I/O APIC's version", TinyGuest{}.store(0xfec0'0000, 1).load_eax(0xfec0'0010).exit_with_eax(), 0x0017'0011,
         ""},
        {"which answers whole words only",  // MOVZX EAX, byte [0xfec00010]
         TinyGuest{}.store(0xfec0'0000, 1).mov_eax(~0u).bytes({0x0f, 0xb6, 0x05}).imm32(0xfec0'0010).exit_with_eax(),
         0xff, ""},
        {"a device address that nobody answers",
         TinyGuest{}.store(0xfed0'0000, 5).load_eax(0xfed0'0000).exit_with_eax(), 0xffff'ffff, ""},
        {"a copy from there",  // REP MOVSD of 3 words
         TinyGuest{}
             .bytes({0xfc})
             .mov_esi(0xfed0'0000)
             .mov_edi(2 << 20)
             .mov_ecx(3)
             .bytes({0xf3, 0xa5})
             .load_eax((2 << 20) + 8)
             .bytes({0x29, 0xc8})  // SUB EAX, ECX: which is 0
             .exit_with_eax(),
         0xffff'ffff, ""},
        {"a port that nobody answers", TinyGuest{}.mov_edx(0x1234).bytes({0xed}).exit_with_eax(), 0xffff'ffff, ""},
        {"OUTS", outs(0xfc, 1, 4).exit(1), 1, "bcde"},
        {"OUTS downwards", outs(0xfd, 5, 6).exit(1), 1, "fedcba"},
        {"OUTS of nothing", outs(0xfc, 0, 0).exit(1), 1, ""},
        {"OUTS leaves ECX at 0", outs(0xfc, 0, 3).bytes({0x89, 0xc8}).exit_with_eax(), 0, "abc"},
        {"OUTS moves ESI", outs(0xfc, 0, 3).bytes({0x89, 0xf0}).exit_with_eax(), TinyGuest::entry + 5, "abc"},
        {"INS of the clock's century",
         TinyGuest{}
             .out8(0x70, 0x32)
             .bytes({0xfc})
             .mov_edi(0x2f'fffe)  // over a page's end
             .mov_ecx(4)
             .mov_edx(0x71)
             .bytes({0xf3, 0x6c})
             .load_eax(0x2f'fffe)
             .exit_with_eax(),
         0x2020'2020, ""},
        {"INS without a prefix",
         TinyGuest{}.out8(0x70, 0x32).mov_edi(2 << 20).mov_edx(0x71).bytes({0x6c}).load_eax(2 << 20).exit_with_eax(),
         0x20, ""},
        {"INS of more than one intercept moves",
         TinyGuest{}
             .out8(0x70, 0x32)
             .bytes({0xfc})
             .mov_edi(2 << 20)
             .mov_ecx(3000)
             .mov_edx(0x71)
             .bytes({0xf3, 0x6c})
             .load_eax((2 << 20) + 2997)  // 3 bytes and the one behind them
             .exit_with_eax(),
         0x0020'2020, ""},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        OneGuest one{row.guest};
        one.finish();
        CHECK(one.guest.state() == GuestState::debug_exit);
        CHECK(one.guest.exit_code() == row.exit_code);
        CHECK(one.guest.console() == row.console);
    }
    SUBCASE("an instruction on device memory that nobody emulates is #UD") {
        OneGuest one{TinyGuest{}.bytes({0xdb, 0x05}).imm32(0xfec0'0000)};  // FILD dword
        one.finish();
        CHECK(one.guest.state() == GuestState::triple_fault);
        CHECK(one.count("intercepts.unhandled") == 1);
    }
    SUBCASE("intercepts are counted by kind") {
        OneGuest one{outs(0xfc, 0, 3).wrmsr(0x4000'0003, 0).load_eax(0xfec0'0000).exit(0)};
        one.finish();
        CHECK(one.count("intercepts.io") == 2);
        CHECK(one.count("intercepts.string_io") == 1);
        CHECK(one.count("intercepts.msr") == 1);
        CHECK(one.count("intercepts.mmio") == 1);
        CHECK(one.count("console.bytes") == 3);
    }
}

TEST_CASE("time") {
    // For each byte two instructions; the third, OUT, costs what its exit and the root's answer do.
    constexpr std::int64_t byte_ns = 2 + 1000 + 5000;
    SUBCASE("a line is seen at the instant at which it is complete") {
        OneGuest one{TinyGuest{}.print("ab\n").print("cd\n").exit(0)};
        std::vector<std::pair<std::int64_t, std::string>> seen;
        one.host->run(
            Time::s(1),
            [&] {
                seen.emplace_back(one.host->now().ps(), one.guest.console());
                return false;
            },
            Time::never());
        REQUIRE(seen.size() == 3);
        CHECK(seen[0].first == Time::ns(3 * byte_ns).ps());
        CHECK(seen[0].second == "ab\n");
        CHECK(seen[1].first == Time::ns(6 * byte_ns).ps());
        CHECK(seen[1].second == "ab\ncd\n");
        CHECK(seen[2].first == Time::ns(6 * byte_ns + 1 + 6000).ps());
        CHECK(seen[2].second == "ab\ncd\n");
    }
    SUBCASE("a prompt is seen a millisecond after it began") {
        OneGuest one{TinyGuest{}.print("$ ").halt()};
        std::vector<std::int64_t> seen;
        const auto ask = [&] {
            seen.push_back(one.host->now().ps());
            return true;
        };
        CHECK(one.host->run(Time::s(1), ask, Time::never()) == Host::Stopped::condition);
        REQUIRE(seen.size() == 1);
        CHECK(seen[0] == Time::ns(byte_ns).ps() + Time::ms(1).ps());
        CHECK(one.host->run(Time::s(1), ask, Time::never()) == Host::Stopped::idle);
    }
    SUBCASE("the time to wake at is exact") {
        OneGuest one{TinyGuest{}.spin()};
        const Time wake = Time::ps(123'456'789);
        CHECK(one.host->run(
                  Time::s(1), [] { return true; }, wake) == Host::Stopped::condition);
        CHECK(one.host->now() == wake);
        // Whole instructions: the one under way at that instant has begun before it.
        CHECK(one.guest.instructions() == 123'457);
    }
    SUBCASE("a condition that is not met lets it go on") {
        OneGuest one{TinyGuest{}.spin()};
        unsigned asked = 0;
        const auto ask = [&] { return ++asked > 5; };
        CHECK(one.host->run(Time::ms(3), ask, Time::ms(1)) == Host::Stopped::time);
        CHECK(asked == 1);
        CHECK(one.host->now().ps() == Time::ms(3).ps());
    }
    SUBCASE("until") {
        OneGuest one{TinyGuest{}.spin()};
        CHECK(one.host->run(Time::ms(2), nothing, Time::never()) == Host::Stopped::time);
        CHECK(one.host->now().ps() == Time::ms(2).ps());
        CHECK(error_of([&] { one.host->run(Time::ms(1), nothing, Time::never()); }) ==
              "cannot run until 1000000000 ps: it is 2000000000 ps already");
    }
    SUBCASE("nothing left to happen") {
        OneGuest one{TinyGuest{}.print("x").halt()};
        CHECK(one.host->run(Time::never(), nothing, Time::never()) == Host::Stopped::idle);
        CHECK(one.guest.state() == GuestState::halted_forever);
        // Somebody types: it may be woken again, and this one is not.
        one.guest.type("y");
        CHECK(one.guest.state() == GuestState::running);
        CHECK(one.host->run(Time::never(), nothing, Time::never()) == Host::Stopped::idle);
        CHECK(one.guest.state() == GuestState::halted_forever);
    }
    SUBCASE("an interruption") {
        OneGuest one{TinyGuest{}.spin()};
        one.host->interrupt();
        CHECK(one.host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::interrupted);
        CHECK(one.host->now().ps() == Time::zero().ps());
        unsigned shown = 0;
        one.host->set_progress([&](Time, std::uint64_t) {
            if (++shown == 3) one.host->interrupt();
        });
        CHECK(one.host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::interrupted);
        CHECK(one.host->now() < Time::s(1));
        CHECK(shown == 3);
    }
    SUBCASE("an exception of the condition's comes out unchanged, and the run can go on") {
        OneGuest one{TinyGuest{}.print("a\nb\n").exit(1)};
        const auto ask = []() -> bool { throw sim::UserError("mine"); };
        CHECK(error_of([&] { one.host->run(Time::s(1), ask, Time::never()); }) == "mine");
        CHECK(one.guest.console() == "a\n");
        one.finish();
        CHECK(one.guest.state() == GuestState::debug_exit);
        CHECK(one.guest.console() == "a\nb\n");
    }
}

TEST_CASE("typing") {
    // Polls the line status, exits with what it reads.
    TinyGuest code;
    code.mov_edx(0x3fd).bytes({0xec, 0xa8, 0x01, 0x74, 0xfb}).mov_edx(0x3f8).bytes({0xec, 0x0f, 0xb6, 0xc0});
    OneGuest one{code.exit_with_eax()};
    CHECK(one.host->run(Time::ms(1), nothing, Time::never()) == Host::Stopped::time);
    CHECK(one.guest.state() == GuestState::running);
    one.guest.type("k");
    one.finish();
    CHECK(one.guest.state() == GuestState::debug_exit);
    CHECK(one.guest.exit_code() == 'k');
    one.guest.type("nobody listens");
    CHECK(one.host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
}

TEST_CASE("partitions come and go") {
    sim::Simulation simulation;
    const auto host = Host::create(simulation, plain_host(2, 32 << 20));
    models::Guest& first =
        host->add_partition(TinyGuest{}.store(0x40'0000, 0x5ec2e7).exit(1).partition("first", 16 << 20));
    models::Guest& second = host->add_partition(TinyGuest{}
                                                    .repeat(1000,
                                                            [](TinyGuest& g) {
                                                                g.load_eax(0x40'0000).bytes({0x85, 0xc0, 0x75, 0xfe});
                                                            })
                                                    .exit(2)
                                                    .partition("second"));
    const TinyGuest reader = TinyGuest{}.load_eax(0x40'0000).exit_with_eax();
    CHECK(
        error_of([&] { host->add_partition(reader.partition("third", 16 << 20)); }) ==
        "partition 'third' wants 16 MiB (17 MiB with what the hypervisor needs for it), the host has 6 MiB free: give "
        "the host more memory or the partition less");
    CHECK(error_of([&] { host->add_partition(reader.partition("first", 4 << 20)); }) ==
          "partition 'first': there is one of that name already");
    CHECK(host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
    CHECK(first.exit_code() == 1);
    CHECK(second.exit_code() == 2);
    // Both are gone; who gets their memory finds nothing in it. A new guest starts at the present time.
    const Time started = host->now();
    models::Guest& third = host->add_partition(reader.partition("third", 28 << 20));
    CHECK(host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
    CHECK(third.state() == GuestState::debug_exit);
    CHECK(third.exit_code() == 0);
    CHECK((host->now() - started).ps() == Time::ns(1 + 6000).ps());
    CHECK(first.instructions() + second.instructions() + third.instructions() == host->instructions());
}

TEST_CASE("the end of one guest is nothing to another") {
    sim::Simulation simulation;
    const auto host = Host::create(simulation, plain_host());
    models::Guest& victim = host->add_partition(TinyGuest{}.bytes({0xcc}).partition("victim"));
    models::Guest& other = host->add_partition(
        TinyGuest{}.repeat(100'000, [](TinyGuest& g) { g.bytes({0x90}); }).exit(9).partition("other"));
    CHECK(host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
    CHECK(victim.state() == GuestState::triple_fault);
    CHECK(other.state() == GuestState::debug_exit);
    CHECK(other.instructions() == 1 + 200'000 + 2);
}

TEST_CASE("the same again") {
    const auto run = [](std::uint64_t seed, unsigned ticks) {
        sim::Simulation simulation{seed};
        const auto host = Host::create(simulation, plain_host(2));
        const TinyGuest guest =
            TinyGuest{}.repeat(ticks, [](TinyGuest& g) { g.print("tick\n").load_eax(0xfec0'0010); }).exit(0);
        auto two = guest.partition("a");
        two.vps = 2;
        host->add_partition(two);
        host->add_partition(guest.partition("b"));
        CHECK(host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
        return simulation.trace().hash();
    };
    const std::string hash = run(3, 50);
    CHECK(run(3, 50) == hash);
    CHECK(run(3, 51) != hash);
}

TEST_CASE("a checkpoint continues as the straight run does") {
    const TinyGuest guest =
        TinyGuest{}
            .repeat(300, [](TinyGuest& g) { g.print("x").load_eax(0xfec0'0010).store_eax(0x30'0000); })
            .print("\n")
            .exit(0);
    const HostConfig config = plain_host(1, 32 << 20);
    sim::Simulation straight{5};
    const auto host = Host::create(straight, config);
    models::Guest& original = host->add_partition(guest.partition("g"));
    host->run(Time::ms(1), nothing, Time::never());
    const std::vector<std::byte> checkpoint = straight.save();
    host->run(Time::s(1), nothing, Time::never());
    REQUIRE(original.console() == std::string(300, 'x') + "\n");

    sim::Simulation again{5};
    const auto copy = Host::create(again, config);
    models::Guest& restored = copy->add_partition(guest.partition("g"));
    again.restore(checkpoint);
    CHECK(copy->now() == Time::ms(1));
    CHECK(restored.console().size() < 300);
    CHECK(copy->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
    CHECK(restored.console() == original.console());
    CHECK(restored.instructions() == original.instructions());
    CHECK(copy->now() == host->now());
    CHECK(again.trace().hash() == straight.trace().hash());
    REQUIRE(again.statistics().all().size() == straight.statistics().all().size());
    for (const auto& row : straight.statistics().all()) {
        CAPTURE(row.first);
        CHECK(again.statistics().all().at(row.first).counter.value() == row.second.counter.value());
    }
}

TEST_CASE("hosts that are refused") {
    struct Row {
        const char* what;
        void (*change)(HostConfig&);
        const char* message;
    };
    const Row rows[] = {
        {"no core", [](HostConfig& c) { c.cores = 0; }, "the host has 0 cores: give it at least one"},
        {"65 cores", [](HostConfig& c) { c.cores = 65; }, "the host has 65 cores: at most 64 are modelled"},
        {"little memory", [](HostConfig& c) { c.memory_bytes = 1 << 20; },
         "the host has 1024 KiB of memory: give it at least 8 MiB"},
        {"a negative quantum", [](HostConfig& c) { c.quantum = Time::ps(-1); },
         "a quantum of -1 ps: give one from 0 (lock-step) to 1 s"},
        {"a profile that nobody knows", [](HostConfig& c) { c.profile = "pentium"; }, "pentium"},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        HostConfig config = plain_host();
        row.change(config);
        sim::Simulation simulation;
        const std::string message = error_of([&] { (void)Host::create(simulation, config); });
        CHECK(message.find(row.message) != std::string::npos);
    }
}

TEST_CASE("partitions that are refused") {
    using models::PartitionConfig;
    struct Row {
        const char* what;
        void (*change)(PartitionConfig&);
        const char* message;
    };
    const Row rows[] = {
        {"no name", [](PartitionConfig& c) { c.name = ""; }, "a partition needs a name: letters, digits, '-' or '_'"},
        {"a name with a dot", [](PartitionConfig& c) { c.name = "a.b"; },
         "partition 'a.b': a name has letters, digits, '-' and '_' only"},
        {"no processor", [](PartitionConfig& c) { c.vps = 0; },
         "partition 'p': it needs at least one virtual processor"},
        {"65 processors", [](PartitionConfig& c) { c.vps = 65; },
         "partition 'p': 65 virtual processors: a partition has at most 64"},
        {"weight 0", [](PartitionConfig& c) { c.weight = 0; }, "partition 'p': weight 0: give one from 1 to 10000"},
        {"weight 10001", [](PartitionConfig& c) { c.weight = 10'001; },
         "partition 'p': weight 10001: give one from 1 to 10000"},
        {"a reserve above one processor", [](PartitionConfig& c) { c.reserve = 100'001; },
         "partition 'p': a reserve is at most 100 percent of a processor"},
        {"a cap above one processor", [](PartitionConfig& c) { c.cap = 100'001; },
         "partition 'p': a cap is at most 100 percent of a processor"},
        {"a reserve above the cap",
         [](PartitionConfig& c) {
             c.reserve = 50'000;
             c.cap = 20'000;
         },
         "partition 'p': its reserve is above its cap"},
        {"more promised than there is",
         [](PartitionConfig& c) {
             c.vps = 2;
             c.reserve = 51'000;
         },
         "partition 'p': the host's 1 processors cannot keep a reserve of 51.000 percent for each of 2 virtual "
         "processors besides what they have promised already"},
        {"processors that the host has not", [](PartitionConfig& c) { c.affinity = 6; },
         "partition 'p': affinity 0x6 names none of the host's 1 processors"},
        {"memory of an odd size", [](PartitionConfig& c) { c.memory_bytes = 5'000'001; },
         "partition 'p': guest memory of 5000001 bytes: give a size that is a multiple of 4 KiB"},
        {"more memory than there is", [](PartitionConfig& c) { c.memory_bytes = 1ull << 30; },
         "partition 'p' wants 1024 MiB (1027 MiB with what the hypervisor needs for it), the host has 30 MiB free: "
         "give "
         "the host more memory or the partition less"},
        {"no kernel", [](PartitionConfig& c) { c.guest.kernel.clear(); },
         "partition 'p': guest kernel of 0 bytes: neither a bzImage nor an ELF file; is it the right file?"},
        {"an ELF file in a bzImage's place",
         [](PartitionConfig& c) { c.guest.kind = models::GuestImage::Kind::bzimage; },
         "partition 'p': the guest is an ELF file, not a bzImage: name it as an ELF guest"},
    };
    sim::Simulation simulation;
    const auto host = Host::create(simulation, plain_host(1, 32 << 20));
    for (const Row& row : rows) {
        CAPTURE(std::string{row.what});
        auto config = TinyGuest{}.exit(0).partition("p");
        row.change(config);
        const std::string message = error_of([&] { host->add_partition(config); });
        CHECK(message == std::string{row.message});
    }
    // None has left anything behind.
    models::Guest& guest = host->add_partition(TinyGuest{}.exit(0).partition("p", 30 << 20));
    CHECK(host->run(Time::s(1), nothing, Time::never()) == Host::Stopped::idle);
    CHECK(guest.state() == GuestState::debug_exit);
}

}  // namespace host_test
