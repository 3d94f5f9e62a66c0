#include "python/trace_perfetto.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "sim/check.h"

namespace python {

namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;
constexpr std::size_t shown_bytes = 64;
// A guest may begin more than it ends; of so much the beginning is remembered.
constexpr std::size_t most_open = 100'000;

// Microseconds with all digits: exact, as text.
void add_time(std::string& out, std::int64_t ps) {
    fmt::format_to(std::back_inserter(out), "{}.{:06}", ps / 1'000'000, ps % 1'000'000);
}

void add_text(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
            out += c;
        }
    }
    out += '"';
}

// "host.pci" of "host.pci.nic.function0"; of partitions, each is a part of its own: "host.root.web".
std::string_view part_of(std::string_view component) {
    const unsigned depth = component.starts_with("host.root.") ? 3 : component.starts_with("processors.") ? 1 : 2;
    std::size_t at = 0;
    for (unsigned n = 0; n < depth; ++n) {
        at = component.find('.', at);
        if (at == std::string_view::npos) return component;
        ++at;
    }
    return component.substr(0, at - 1);
}

// What is left of a component's name inside its part.
std::string_view inside_part(std::string_view component) {
    const std::string_view part = part_of(component);
    return component.size() > part.size() ? component.substr(part.size() + 1) : component;
}

}  // namespace

TracePerfetto::TracePerfetto(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb")) {
    if (!file_) throw sim::UserError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
    pending_.reserve(chunk_bytes + 4096);
    pending_ += "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
}

TracePerfetto::~TracePerfetto() {
    if (file_) std::fclose(file_);
}

void TracePerfetto::record(sim::Time time, std::string_view component, const char* kind,
                           std::span<const std::uint64_t> words, std::span<const std::byte> bytes) {
    const Record record{time.ps(), component, track_of(component), kind, find_view(kind), words, bytes};
    const auto found = counts_.find(record.kind);
    if (found != counts_.end()) {
        ++found->second;
    } else {
        counts_.emplace(kind, 1);
    }
    switch (record.view != nullptr ? record.view->shape : Shape::instant) {
        case Shape::turn:
            turn(record);
            break;
        case Shape::packet:
            packet(record);
            break;
        case Shape::lasted:
            lasted(record);
            break;
        case Shape::begin:
        case Shape::end:
            half(record);
            break;
        case Shape::level:
            level(record);
            break;
        case Shape::figures:
            figures(record);
            break;
        case Shape::partition:
            if (!words.empty()) partitions_[words[0]] = component.substr(component.rfind('.') + 1);
            instant(record);
            break;
        case Shape::instant:
            instant(record);
            break;
    }
    if (pending_.size() >= chunk_bytes) flush();
}

TracePerfetto::Track TracePerfetto::track_of(std::string_view component) {
    if (const auto found = tracks_.find(component); found != tracks_.end()) return found->second;
    const std::string_view part = part_of(component);
    auto process = processes_.find(part);
    if (process == processes_.end()) {
        process = processes_.emplace(part, static_cast<unsigned>(processes_.size()) + 1).first;
        begin_event('M', {process->second, 0}, 0, "process_name");
        pending_ += ",\"args\":{\"name\":";
        add_text(pending_, part);
        pending_ += '}';
        end_event();
    }
    const Track track{process->second, static_cast<unsigned>(tracks_.size()) + 1};
    tracks_.emplace(component, track);
    begin_event('M', track, 0, "thread_name");
    pending_ += ",\"args\":{\"name\":";
    add_text(pending_, inside_part(component));
    pending_ += '}';
    end_event();
    return track;
}

void TracePerfetto::begin_event(char phase, const Track& track, std::int64_t at_ps, std::string_view name) {
    if (!std::exchange(first_, false)) pending_ += ',';
    fmt::format_to(std::back_inserter(pending_), "\n{{\"ph\":\"{}\",\"pid\":{},\"tid\":{},\"ts\":", phase,
                   track.process, track.thread);
    add_time(pending_, at_ps);
    pending_ += ",\"name\":";
    add_text(pending_, name);
}

void TracePerfetto::add_arguments(const Record& record) {
    auto out = std::back_inserter(pending_);
    fmt::format_to(out, ",\"args\":{{\"time_ps\":{}", record.at_ps);
    for (unsigned index = 0; index < record.words.size(); ++index) {
        const std::string_view known = record.view != nullptr ? word_name(*record.view, index) : std::string_view{};
        pending_ += ',';
        add_text(pending_, known.empty() ? fmt::format("word{}", index) : std::string{known});
        // Readers take numbers as doubles: large ones, addresses as a rule, are text.
        const std::uint64_t word = record.words[index];
        if (word < (std::uint64_t{1} << 32)) {
            fmt::format_to(out, ":{}", word);
        } else {
            fmt::format_to(out, ":\"{:#x}\"", word);
        }
    }
    if (!record.bytes.empty()) {
        fmt::format_to(out, ",\"bytes\":{},\"hex\":\"", record.bytes.size());
        for (const std::byte byte : record.bytes.first(std::min(record.bytes.size(), shown_bytes))) {
            fmt::format_to(out, "{:02x}", static_cast<unsigned>(byte));
        }
        pending_ += '"';
    }
    pending_ += '}';
}

void TracePerfetto::instant(const Record& record) {
    std::string_view name = record.kind;
    if (name == "exit" && !record.words.empty()) {
        if (const std::string_view reason = exit_name(record.words[0]); !reason.empty()) name = reason;
    }
    begin_event('i', record.track, record.at_ps, name);
    pending_ += ",\"cat\":";
    add_text(pending_, record.kind);
    pending_ += ",\"s\":\"t\"";
    add_arguments(record);
    end_event();
}

// Whoever ran is a slice on the track of the logical processor.
void TracePerfetto::turn(const Record& record) {
    if (record.words.size() < 5) return instant(record);
    const auto [lp, partition, vp, start, length] =
        std::array{record.words[0], record.words[1], record.words[2], record.words[3], record.words[4]};
    if (length == 0) return;
    const Track track = track_of(fmt::format("processors.lp{}", lp));
    const auto found = partitions_.find(partition);
    const std::string who = partition == 1               ? "root"
                            : found != partitions_.end() ? found->second
                                                         : fmt::format("partition {}", partition);
    begin_event('X', track, static_cast<std::int64_t>(start), fmt::format("{} vp{}", who, vp));
    pending_ += ",\"cat\":\"turn\",\"dur\":";
    add_time(pending_, static_cast<std::int64_t>(length));
    add_arguments(record);
    end_event();
}

void TracePerfetto::async(char phase, const Track& track, std::int64_t at_ps, std::string_view category,
                          std::uint64_t id, std::string_view name) {
    begin_event(phase, track, at_ps, name);
    pending_ += ",\"cat\":";
    add_text(pending_, category);
    fmt::format_to(std::back_inserter(pending_), ",\"id\":\"{:#x}\"", id);
}

// A frame's stages lie inside it. Frames overlap, so they are no slices of the component's own track.
void TracePerfetto::packet(const Record& record) {
    constexpr std::size_t first_instant = 3;
    const auto stages = packet_stages(record.words.empty() ? 0 : record.words[0]);
    if (record.words.size() != first_instant + stages.size() + 1) return instant(record);
    const auto instants = record.words.subspan(first_instant);
    if (!std::ranges::is_sorted(instants)) return instant(record);
    const auto at = [&](std::size_t index) { return static_cast<std::int64_t>(instants[index]); };
    const std::uint64_t id = next_id_++;
    const std::string_view name = stages.size() == 2 ? "frame received" : "frame sent";
    async('b', record.track, at(0), "packet", id, name);
    add_arguments(record);
    end_event();
    for (std::size_t index = 0; index < stages.size(); ++index) {
        if (instants[index] == instants[index + 1]) continue;
        async('b', record.track, at(index), "packet", id, stages[index]);
        end_event();
        async('e', record.track, at(index + 1), "packet", id, stages[index]);
        end_event();
    }
    async('e', record.track, at(stages.size()), "packet", id, name);
    end_event();
}

void TracePerfetto::lasted(const Record& record) {
    const std::int64_t length = record.words.empty() ? 0 : static_cast<std::int64_t>(record.words.back());
    if (length <= 0 || length > record.at_ps) return instant(record);
    const std::uint64_t id = next_id_++;
    async('b', record.track, record.at_ps - length, record.kind, id, record.view->name);
    add_arguments(record);
    end_event();
    async('e', record.track, record.at_ps, record.kind, id, record.view->name);
    end_event();
}

// One end of something: the other is found by its key. An end without a beginning is an instant.
void TracePerfetto::half(const Record& record) {
    const View& view = *record.view;
    if (view.key >= record.words.size()) return instant(record);
    const std::string key = fmt::format("{} {} {}", record.track.thread, view.name, record.words[view.key]);
    const auto found = open_.find(key);
    std::uint64_t id = 0;
    if (view.shape == Shape::begin) {
        if (found != open_.end() || open_.size() >= most_open) return instant(record);
        id = next_id_++;
        open_.emplace(key, id);
    } else {
        if (found == open_.end()) return instant(record);
        id = found->second;
        open_.erase(found);
    }
    async(view.shape == Shape::begin ? 'b' : 'e', record.track, record.at_ps, view.name, id, view.name);
    add_arguments(record);
    end_event();
}

void TracePerfetto::level(const Record& record) {
    if (record.words.size() != 2) return instant(record);
    begin_event('C', record.track, record.at_ps,
                fmt::format("{}: {} {}", inside_part(record.component), record.view->name, record.words[0]));
    fmt::format_to(std::back_inserter(pending_), ",\"args\":{{\"level\":{}}}", record.words[1]);
    end_event();
}

void TracePerfetto::figures(const Record& record) {
    for (unsigned index = 0; index < record.words.size(); ++index) {
        const std::string_view name = word_name(*record.view, index);
        begin_event('C', record.track, record.at_ps,
                    fmt::format("{}: {}", inside_part(record.component), name.empty() ? record.kind : name));
        fmt::format_to(std::back_inserter(pending_), ",\"args\":{{\"value\":{}}}", record.words[index]);
        end_event();
    }
}

void TracePerfetto::flush() {
    if (file_ && std::fwrite(pending_.data(), 1, pending_.size(), file_) != pending_.size()) failed_ = true;
    pending_.clear();
}

void TracePerfetto::close() {
    if (!file_) return;
    pending_ += "\n]}\n";
    flush();
    if (std::fclose(file_) != 0) failed_ = true;
    file_ = nullptr;
    if (failed_) throw sim::UserError(fmt::format("cannot write {}: is the disk full?", path_));
}

}  // namespace python
