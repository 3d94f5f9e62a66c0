// The trace in Chrome's JSON format, which ui.perfetto.dev and chrome://tracing open: a track for each component, with
// slices for what takes time, instants, counters. Times are microseconds with six digits, so picoseconds; Perfetto
// draws nanoseconds, hence the arguments hold what counts exactly.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include "python/trace_text.h"
#include "python/trace_views.h"
#include "sim/trace.h"

namespace python {

class TracePerfetto final : public sim::TraceSink {
public:
    // A file that cannot be written is a UserError, here or in close().
    explicit TracePerfetto(std::string path);
    ~TracePerfetto() override;
    TracePerfetto(const TracePerfetto&) = delete;
    TracePerfetto& operator=(const TracePerfetto&) = delete;

    void record(sim::Time time, std::string_view component, const char* kind, std::span<const std::uint64_t> words,
                std::span<const std::byte> bytes) override;
    void close();

    const TraceText::Counts& counts() const { return counts_; }

private:
    // A component's place in the picture: components of one part of the machine are a process with a thread each.
    struct Track {
        unsigned process = 0;
        unsigned thread = 0;
    };
    struct Record {
        std::int64_t at_ps;
        std::string_view component;
        Track track;
        std::string_view kind;
        const View* view;
        std::span<const std::uint64_t> words;
        std::span<const std::byte> bytes;
    };

    Track track_of(std::string_view component);
    void begin_event(char phase, const Track& track, std::int64_t at_ps, std::string_view name);
    void end_event() { pending_ += '}'; }
    void add_arguments(const Record& record);
    void instant(const Record& record);
    void turn(const Record& record);
    void packet(const Record& record);
    void async(char phase, const Track& track, std::int64_t at_ps, std::string_view category, std::uint64_t id,
               std::string_view name);
    void lasted(const Record& record);
    void half(const Record& record);
    void level(const Record& record);
    void figures(const Record& record);
    void flush();

    std::string path_;
    std::FILE* file_;
    std::string pending_;
    bool failed_ = false;
    bool first_ = true;
    std::uint64_t next_id_ = 1;
    TraceText::Counts counts_;
    std::map<std::string, Track, std::less<>> tracks_;
    std::map<std::string, unsigned, std::less<>> processes_;
    std::map<std::uint64_t, std::string> partitions_;
    // What has begun and not ended: by component, name and key.
    std::map<std::string, std::uint64_t> open_;
};

}  // namespace python
