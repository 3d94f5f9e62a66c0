// Runs under SystemC: the machine's events in order and at their times, between another module's; how runs end; errors;
// the TLM-2.0 memory socket.
#include "models/platform.h"

#include <doctest/doctest.h>
#include <tlm_utils/simple_initiator_socket.h>

#include <string>
#include <vector>

#include "models/host_memory.h"
#include "models/platform_module.h"
#include "sim/check.h"

namespace platform_test {

using models::AgendaMachine;
using models::Platform;
using models::RunEnd;
using sim::Time;
using namespace sim::literals;

namespace {

// Somebody else's model: acts at given times, and is a TLM initiator.
class Foreign final : public sc_core::sc_module {
public:
    tlm_utils::simple_initiator_socket<Foreign> socket{"socket"};
    std::function<void()> act;

    explicit Foreign(const sc_core::sc_module_name& module_name) : sc_module(module_name) {
        SC_HAS_PROCESS(Foreign);
        SC_METHOD(acts);
        sensitive << event_;
        dont_initialize();
    }
    void act_after(Time t) { event_.notify(static_cast<double>(t.ps()), sc_core::SC_PS); }
    void cancel() { event_.cancel(); }

private:
    void acts() {
        if (act) act();
    }
    sc_core::sc_event event_{"event"};
};

// SystemC is elaborated once per process, so every test uses these.
struct Elaborated {
    Platform& platform = Platform::instance();
    Foreign foreign{"foreign"};
    Elaborated() { foreign.socket.bind(platform.module().memory); }
};
Elaborated& elaborated() {
    static Elaborated one;
    return one;
}

// Modules can't be made after the first run, and another file's test may be the first to run something.
[[maybe_unused]] const Elaborated& elaborated_at_start = elaborated();

const std::function<bool()> never_stop = [] { return false; };

struct Journal {
    sim::Agenda agenda;
    AgendaMachine machine{agenda};
    std::vector<std::string> lines;
    void note(const std::string& what) { lines.push_back(what + "@" + std::to_string(agenda.now().ps())); }
};

}  // namespace

TEST_CASE("a run ends by time, for want of events, or when told to; it goes on from there") {
    Elaborated& e = elaborated();
    Journal journal;
    sim::Timer tick{journal.agenda, "tick", [&] {
                        journal.note("tick");
                        if (journal.lines.size() < 5) tick.arm_after(10_ns);
                    }};
    tick.arm(10_ns);
    CHECK(e.platform.run(journal.machine, 25_ns, never_stop) == RunEnd::time);
    CHECK(journal.agenda.now() == 25_ns);
    CHECK(journal.lines == std::vector<std::string>{"tick@10000", "tick@20000"});
    CHECK(e.platform.run(journal.machine, 30_ns, never_stop) == RunEnd::time);  // `until` itself belongs to the run
    CHECK(journal.lines.size() == 3);
    CHECK(e.platform.run(journal.machine, 30_ns, never_stop) == RunEnd::time);  // no time at all
    CHECK(journal.lines.size() == 3);
    CHECK(e.platform.run(journal.machine, 1_s, [&] { return journal.lines.size() == 4; }) == RunEnd::stopped);
    CHECK(journal.agenda.now() == 40_ns);
    CHECK(e.platform.run(journal.machine, Time::never(), never_stop) == RunEnd::idle);
    CHECK(journal.agenda.now() == 50_ns);
    CHECK(e.platform.run(journal.machine, 1_s, never_stop) == RunEnd::idle);
    CHECK(e.platform.run(journal.machine, 1_s, [] { return true; }) == RunEnd::stopped);
    CHECK(journal.lines.back() == "tick@50000");
}

TEST_CASE("SystemC's clock stands at the machine's after every run") {
    Elaborated& e = elaborated();
    Journal journal;
    const sc_core::sc_time begin = sc_core::sc_time_stamp();
    const auto passed = [&] { return Time::ps(static_cast<std::int64_t>((sc_core::sc_time_stamp() - begin).value())); };
    sim::Timer tick{journal.agenda, "tick", [&] { tick.arm_after(7_ns); }};
    tick.arm(7_ns);
    (void)e.platform.run(journal.machine, 100_ns, never_stop);
    CHECK(passed() == 100_ns);
    int events = 0;
    (void)e.platform.run(journal.machine, 1_s, [&] { return ++events == 4; });
    CHECK(journal.agenda.now() == 119_ns);
    CHECK(passed() == 119_ns);
}

TEST_CASE("several machines in one process, one after the other and by turns") {
    Elaborated& e = elaborated();
    Journal a, b;
    sim::Timer ta{a.agenda, "a", [&] {
                      a.note("a");
                      ta.arm_after(10_ns);
                  }};
    sim::Timer tb{b.agenda, "b", [&] {
                      b.note("b");
                      tb.arm_after(15_ns);
                  }};
    ta.arm(10_ns);
    tb.arm(15_ns);
    (void)e.platform.run(a.machine, 10_ns, never_stop);
    (void)e.platform.run(b.machine, 30_ns, never_stop);
    (void)e.platform.run(a.machine, 20_ns, never_stop);
    CHECK(a.lines == std::vector<std::string>{"a@10000", "a@20000"});
    CHECK(b.lines == std::vector<std::string>{"b@15000", "b@30000"});
}

TEST_CASE("another module's events come at their time between the machine's; at equal times the machine goes first") {
    Elaborated& e = elaborated();
    Journal journal;
    sim::Timer tick{journal.agenda, "tick", [&] {
                        journal.note("tick");
                        tick.arm_after(10_ns);
                    }};
    tick.arm(10_ns);
    int acts = 0;
    e.foreign.act = [&] {
        journal.note("foreign");
        if (++acts < 6) e.foreign.act_after(4_ns);
    };
    e.foreign.act_after(4_ns);
    CHECK(e.platform.run(journal.machine, 26_ns, never_stop) == RunEnd::time);
    CHECK(journal.lines == std::vector<std::string>{"foreign@4000", "foreign@8000", "tick@10000", "foreign@12000",
                                                    "foreign@16000", "tick@20000", "foreign@20000", "foreign@24000"});
    CHECK(journal.agenda.now() == 26_ns);

    // Pending beyond the end of the run: it waits for the next one.
    journal.lines.clear();
    acts = 5;
    e.foreign.act_after(3_ns);
    CHECK(e.platform.run(journal.machine, 28_ns, never_stop) == RunEnd::time);
    CHECK(journal.lines.empty());
    tick.disarm();
    CHECK(e.platform.run(journal.machine, Time::never(), never_stop) == RunEnd::idle);
    CHECK(journal.lines == std::vector<std::string>{"foreign@29000"});
    e.foreign.act = {};
}

TEST_CASE("another module may arm the machine's timers") {
    Elaborated& e = elaborated();
    Journal journal;
    sim::Timer answer{journal.agenda, "answer", [&] { journal.note("answer"); }};
    e.foreign.act = [&] {
        answer.arm_after(2_ns);
        e.platform.poke();
    };
    e.foreign.act_after(5_ns);
    CHECK(e.platform.run(journal.machine, 100_ns, never_stop) == RunEnd::idle);
    CHECK(journal.lines == std::vector<std::string>{"answer@7000"});
    e.foreign.act = {};
}

TEST_CASE("errors come out of a run as they were thrown, and the next run is not disturbed") {
    Elaborated& e = elaborated();
    Journal journal;
    sim::Timer bad{journal.agenda, "bad", [] { throw sim::UserError("partition 'web': no such disk"); }};
    bad.arm(3_ns);
    CHECK_THROWS_WITH_AS(e.platform.run(journal.machine, 1_s, never_stop), "partition 'web': no such disk",
                         sim::UserError);
    sim::Timer good{journal.agenda, "good", [&] { journal.note("good"); }};
    good.arm(9_ns);
    CHECK(e.platform.run(journal.machine, 1_s, never_stop) == RunEnd::idle);
    CHECK(journal.lines == std::vector<std::string>{"good@9000"});
    CHECK_THROWS_AS(e.platform.run(journal.machine, 2_s, []() -> bool { throw 5; }), int);
}

TEST_CASE("the TLM-2.0 socket reads and writes system memory") {
    Elaborated& e = elaborated();
    models::HostMemory memory{1 << 20};
    e.platform.set_memory(memory.view());
    e.platform.module().memory_latency = sc_core::sc_time(80, sc_core::SC_NS);
    memory.view().store<std::uint64_t>(0x1000, 0x1122334455667788);

    struct Row {
        const char* why;
        tlm::tlm_command command;
        std::uint64_t address;
        unsigned length, streaming;
        std::vector<unsigned char> enables;
        tlm::tlm_response_status status;
        std::uint64_t data_after;
    };
    constexpr unsigned char on = 0xff, off = 0;
    for (const Row& row : {
             Row{"read", tlm::TLM_READ_COMMAND, 0x1000, 8, 8, {}, tlm::TLM_OK_RESPONSE, 0x1122334455667788},
             Row{"part", tlm::TLM_READ_COMMAND, 0x1002, 2, 2, {}, tlm::TLM_OK_RESPONSE, 0xaaaaaaaaaaaa5566},
             Row{"enabled bytes",
                 tlm::TLM_READ_COMMAND,
                 0x1000,
                 4,
                 4,
                 {on, off},
                 tlm::TLM_OK_RESPONSE,
                 0xaaaaaaaaaa66aa88},
             Row{"write", tlm::TLM_WRITE_COMMAND, 0x2000, 8, 8, {}, tlm::TLM_OK_RESPONSE, 0xaaaaaaaaaaaaaaaa},
             Row{"beyond",
                 tlm::TLM_READ_COMMAND,
                 0xffffc,
                 8,
                 8,
                 {},
                 tlm::TLM_ADDRESS_ERROR_RESPONSE,
                 0xaaaaaaaaaaaaaaaa},
             Row{"far beyond",
                 tlm::TLM_WRITE_COMMAND,
                 ~0ull - 3,
                 8,
                 8,
                 {},
                 tlm::TLM_ADDRESS_ERROR_RESPONSE,
                 0xaaaaaaaaaaaaaaaa},
             Row{"streaming",
                 tlm::TLM_READ_COMMAND,
                 0x1000,
                 8,
                 4,
                 {},
                 tlm::TLM_BURST_ERROR_RESPONSE,
                 0xaaaaaaaaaaaaaaaa},
             Row{"ignore", tlm::TLM_IGNORE_COMMAND, 0x1000, 8, 8, {}, tlm::TLM_OK_RESPONSE, 0xaaaaaaaaaaaaaaaa},
         }) {
        CAPTURE(row.why);
        std::uint64_t data = 0xaaaaaaaaaaaaaaaa;
        std::vector<unsigned char> enables = row.enables;
        tlm::tlm_generic_payload transaction;
        transaction.set_command(row.command);
        transaction.set_address(row.address);
        transaction.set_data_ptr(reinterpret_cast<unsigned char*>(&data));
        transaction.set_data_length(row.length);
        transaction.set_streaming_width(row.streaming);
        if (!enables.empty()) {
            transaction.set_byte_enable_ptr(enables.data());
            transaction.set_byte_enable_length(static_cast<unsigned>(enables.size()));
        }
        // As another model makes it: during a run, from a process.
        sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
        e.foreign.act = [&] { e.foreign.socket->b_transport(transaction, delay); };
        e.foreign.act_after(1_ns);
        Journal journal;
        CHECK(e.platform.run(journal.machine, 1_us, never_stop) == RunEnd::idle);
        CHECK(transaction.get_response_status() == row.status);
        CHECK(data == row.data_after);
        CHECK(delay == sc_core::sc_time(80, sc_core::SC_NS));
    }
    e.foreign.act = {};
    CHECK(memory.view().load<std::uint64_t>(0x2000) == 0xaaaaaaaaaaaaaaaa);

    // Direct access: to read where translated code is watched, to write as well where it is not.
    tlm::tlm_generic_payload transaction;
    tlm::tlm_dmi dmi;
    transaction.set_command(tlm::TLM_READ_COMMAND);
    CHECK(e.foreign.socket->get_direct_mem_ptr(transaction, dmi));
    CHECK(dmi.get_dmi_ptr() == reinterpret_cast<unsigned char*>(memory.base()));
    CHECK(dmi.get_end_address() == 0xfffff);
    CHECK_FALSE(dmi.is_write_allowed());
    transaction.set_command(tlm::TLM_WRITE_COMMAND);
    CHECK_FALSE(e.foreign.socket->get_direct_mem_ptr(transaction, dmi));
    e.platform.set_memory({memory.base(), memory.size_bytes()});
    CHECK(e.foreign.socket->get_direct_mem_ptr(transaction, dmi));
    CHECK(dmi.is_write_allowed());
    e.platform.set_memory({});
    CHECK_FALSE(e.foreign.socket->get_direct_mem_ptr(transaction, dmi));
    std::uint8_t byte = 0;
    transaction.set_data_ptr(&byte);
    transaction.set_data_length(1);
    transaction.set_streaming_width(1);
    CHECK(e.foreign.socket->transport_dbg(transaction) == 0);
}

}  // namespace platform_test
