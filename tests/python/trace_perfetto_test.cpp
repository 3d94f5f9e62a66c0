// Records and what becomes of each in Chrome's JSON format and in a value change dump, to the character.
#include "python/trace_perfetto.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "python/trace_vcd.h"
#include "sim/check.h"

namespace trace_perfetto_test {

namespace {

struct File {
    std::string path = "trace_perfetto_test.json";
    ~File() { std::remove(path.c_str()); }
    // The events of the file that are no names of tracks, a line each.
    std::vector<std::string> events() const {
        std::ifstream in{path};
        std::vector<std::string> found;
        for (std::string line; std::getline(in, line);) {
            if (line.find("\"ph\":\"M\"") == std::string::npos && line.find("\"ph\"") != std::string::npos) {
                if (line.back() == ',') line.pop_back();
                found.push_back(line);
            }
        }
        return found;
    }
    std::string text() const {
        std::ifstream in{path};
        std::ostringstream all;
        all << in.rdbuf();
        return all.str();
    }
};

void put(python::TracePerfetto& trace, std::int64_t ps, const char* component, const char* kind,
         std::initializer_list<std::uint64_t> words) {
    trace.record(sim::Time::ps(ps), component, kind, std::vector<std::uint64_t>{words}, {});
}

}  // namespace

TEST_CASE("each component is a track of its part of the machine") {
    File file;
    {
        python::TracePerfetto trace{file.path};
        put(trace, 1'234'567, "host.pci.nic.function0", "nothing known", {7, 0x1'0000'0000});
        trace.close();
    }
    CHECK(file.text() ==
          "{\"displayTimeUnit\":\"ns\",\"traceEvents\":["
          "\n{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"ts\":0.000000,\"name\":\"process_name\",\"args\":{\"name\":\"host."
          "pci\"}},"
          "\n{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"ts\":0.000000,\"name\":\"thread_name\","
          "\"args\":{\"name\":\"nic.function0\"}},"
          "\n{\"ph\":\"i\",\"pid\":1,\"tid\":1,\"ts\":1.234567,\"name\":\"nothing known\",\"cat\":\"nothing known\","
          "\"s\":\"t\",\"args\":{\"time_ps\":1234567,\"word0\":7,\"word1\":\"0x100000000\"}}"
          "\n]}\n");
}

TEST_CASE("a turn is a slice of its processor, with the name of the partition") {
    File file;
    python::TracePerfetto trace{file.path};
    put(trace, 0, "host.root.web", "partition", {2, 1, 4096});
    put(trace, 5, "host.hypervisor", "turn", {3, 2, 0, 2'000'000, 500'000});
    put(trace, 5, "host.hypervisor", "turn", {3, 1, 1, 3'000'000, 1});
    put(trace, 5, "host.hypervisor", "turn", {3, 9, 0, 4'000'000, 0});
    trace.close();
    const auto events = file.events();
    REQUIRE(events.size() == 3);  // the partition, and two turns: one of no length is none
    CHECK(events[1] ==
          "{\"ph\":\"X\",\"pid\":3,\"tid\":3,\"ts\":2.000000,\"name\":\"web vp0\",\"cat\":\"turn\",\"dur\":0.500000,"
          "\"args\":{\"time_ps\":5,\"lp\":3,\"partition\":2,\"vp\":0,\"start_ps\":2000000,\"length_ps\":500000}}");
    CHECK(events[2].find("\"name\":\"root vp1\",\"cat\":\"turn\",\"dur\":0.000001,") != std::string::npos);
}

TEST_CASE("a frame is its stages, one in another") {
    File file;
    python::TracePerfetto trace{file.path};
    put(trace, 900, "host.pci.nic", "packet", {0, 5, 60, 100, 200, 200, 300, 400});
    put(trace, 900, "host.pci.nic", "packet", {2, 5, 60, 100, 200, 300});
    put(trace, 900, "host.pci.nic", "packet", {2, 5, 60, 300, 200, 100});  // an instant: its stages are in no order
    trace.close();
    const auto events = file.events();
    const char* expected[] = {
        "b 0.000100 frame sent",
        "b 0.000100 descriptor and data",
        "e 0.000200 descriptor and data",
        "b 0.000200 wait for the way out",
        "e 0.000300 wait for the way out",
        "b 0.000300 on the way out",
        "e 0.000400 on the way out",
        "e 0.000400 frame sent",
        "b 0.000100 frame received",
        "b 0.000100 receive path",
        "e 0.000200 receive path",
        "b 0.000200 to memory",
        "e 0.000300 to memory",
        "e 0.000300 frame received",
        "i 0.000900 packet",
    };
    std::vector<std::string> seen;
    for (const std::string& event : events) {
        const auto value = [&event](const std::string& name, char end) {
            const auto at = event.find(name) + name.size();
            return event.substr(at, event.find(end, at) - at);
        };
        seen.push_back(value("\"ph\":\"", '"') + " " + value("\"ts\":", ',') + " " + value("\"name\":\"", '"'));
    }
    CHECK(seen == std::vector<std::string>(std::begin(expected), std::end(expected)));
}

TEST_CASE("what begins ends by its key, what is not paired is an instant") {
    File file;
    python::TracePerfetto trace{file.path};
    put(trace, 10, "a.b.disk", "storage_io", {77, 1, 0x28});
    put(trace, 20, "a.b.disk", "storage_io", {77, 1, 0x28});       // the same once more
    put(trace, 30, "a.b.disk", "storage_io_done", {78, 1, 4096});  // never begun
    put(trace, 40, "a.b.disk", "storage_io_done", {77, 1, 4096});
    put(trace, 50, "a.b.disk", "dma_read", {0, 0x1000, 64, 45});
    put(trace, 50, "a.b.disk", "dma_read", {0, 0x1000, 64, 99});  // would have begun before the run
    trace.close();
    std::string phases;
    for (const std::string& event : file.events()) phases += event.substr(7, 1);
    CHECK(phases == "biiebei");
}

TEST_CASE("levels and figures are counters") {
    File file;
    python::TracePerfetto trace{file.path};
    put(trace, 10, "host.root.web.io_apic", "pin", {4, 1});
    put(trace, 10, "host.root.web.memory", "memory.status", {100, 200});
    trace.close();
    const auto events = file.events();
    REQUIRE(events.size() == 3);
    CHECK(events[0].ends_with("\"name\":\"io_apic: pin 4\",\"args\":{\"level\":1}}"));
    CHECK(events[1].ends_with("\"name\":\"memory: available_pages\",\"args\":{\"value\":100}}"));
    CHECK(events[2].ends_with("\"name\":\"memory: committed_pages\",\"args\":{\"value\":200}}"));
}

TEST_CASE("text of a component or of bytes is no syntax") {
    File file;
    python::TracePerfetto trace{file.path};
    const std::string payload(70, 'x');
    trace.record(sim::Time::ps(1), "x.\"y\\\n", "check", {}, std::as_bytes(std::span{payload}));
    trace.close();
    CHECK(file.text().find("{\"name\":\"x.\\\"y\\\\\\u000a\"}") != std::string::npos);
    CHECK(file.events()[0].find("\"bytes\":70,\"hex\":\"7878") != std::string::npos);
    CHECK(trace.counts().at("check") == 1);
}

TEST_CASE("who runs and which line is high, in the order of time") {
    File file;
    python::TraceVcd trace{file.path};
    const auto record = [&trace](std::int64_t ps, const char* component, const char* kind,
                                 std::initializer_list<std::uint64_t> words) {
        trace.record(sim::Time::ps(ps), component, kind, std::vector<std::uint64_t>{words}, {});
    };
    record(0, "host.root.a web", "partition", {2, 1, 4096});
    record(5, "host.hypervisor", "turn", {0, 2, 0, 0, 10});
    record(30, "host.io_apic", "pin", {4, 1});
    record(10, "host.hypervisor", "turn", {0, 2, 0, 10, 5});  // goes on
    record(20, "host.hypervisor", "turn", {1, 1, 3, 20, 10});
    record(40, "host.io_apic", "pin", {4, 0});
    record(40, "host.io_apic", "other", {4, 0});
    trace.close();
    CHECK(file.text() ==
          "$version Verdigris $end\n$timescale 1 ps $end\n"
          "$scope module a_web $end\n$var wire 1 ! vp0_runs $end\n$upscope $end\n"
          "$scope module host_io_apic $end\n$var wire 1 \" pin4 $end\n$upscope $end\n"
          "$scope module root $end\n$var wire 1 # vp3_runs $end\n$upscope $end\n"
          "$enddefinitions $end\n#0\n$dumpvars\n0!\n0\"\n0#\n$end\n"
          "1!\n#15\n0!\n#20\n1#\n#30\n1\"\n0#\n#40\n0\"\n");
}

TEST_CASE("a file that cannot be written is the user's mistake") {
    CHECK_THROWS_AS(python::TracePerfetto{"/nowhere/trace.json"}, sim::UserError);
    CHECK_THROWS_AS(
        [] {
            python::TracePerfetto trace{"/dev/full"};
            trace.close();
        }(),
        sim::UserError);
}

}  // namespace trace_perfetto_test
