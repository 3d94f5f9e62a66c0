// Levels over time as a Value Change Dump (IEEE 1364, clause 18), which GTKWave and its like show: a signal for each
// virtual processor that is high while it runs, one for each interrupt line. Records do not come in the order of their
// times, so changes are kept until the end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/trace.h"

namespace python {

class TraceVcd final : public sim::TraceSink {
public:
    // A file that cannot be written is a UserError, here or in close().
    explicit TraceVcd(std::string path);
    ~TraceVcd() override;
    TraceVcd(const TraceVcd&) = delete;
    TraceVcd& operator=(const TraceVcd&) = delete;

    // The kinds that have levels.
    static std::vector<std::string> kinds() { return {"line", "partition", "pin", "turn"}; }

    void record(sim::Time time, std::string_view component, const char* kind, std::span<const std::uint64_t> words,
                std::span<const std::byte> bytes) override;
    void close();

private:
    struct Change {
        std::int64_t at_ps;
        std::uint32_t signal;
        bool level;
    };

    std::uint32_t signal(std::string_view scope, const std::string& name);
    void change(std::int64_t at_ps, std::uint32_t signal, bool level);
    void write_header(std::string& out) const;

    std::string path_;
    std::FILE* file_;
    std::map<std::string, std::map<std::string, std::uint32_t>, std::less<>> signals_;  // by scope and name
    std::uint32_t count_ = 0;
    std::map<std::uint64_t, std::string> partitions_;
    std::vector<Change> changes_;
    bool full_ = false;
};

}  // namespace python
