#include "python/trace_vcd.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "sim/check.h"

namespace python {

namespace {

// 16 bytes each: a gibibyte. A dump of more is of use to nobody.
constexpr std::size_t most_changes = std::size_t{1} << 26;

// Identifiers are of the printable characters but for the space, the first one fastest.
std::string identifier(std::uint32_t signal) {
    std::string text;
    do {
        text += static_cast<char>('!' + signal % 94);
        signal /= 94;
    } while (signal != 0);
    return text;
}

// Names without what the format takes for something else.
std::string plain(std::string_view name) {
    std::string text{name};
    for (char& c : text) {
        const bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!good) c = '_';
    }
    return text;
}

}  // namespace

TraceVcd::TraceVcd(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb")) {
    if (!file_) throw sim::UserError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
}

TraceVcd::~TraceVcd() {
    if (file_) std::fclose(file_);
}

void TraceVcd::record(sim::Time time, std::string_view component, const char* kind,
                      std::span<const std::uint64_t> words, std::span<const std::byte>) {
    const std::string_view name{kind};
    if (name == "partition" && !words.empty()) {
        partitions_[words[0]] = component.substr(component.rfind('.') + 1);
    } else if (name == "turn" && words.size() == 5 && words[4] != 0) {
        const auto known = partitions_.find(words[1]);
        const std::string who = known != partitions_.end() ? known->second
                                : words[1] == 1            ? std::string{"root"}
                                                           : fmt::format("partition{}", words[1]);
        const std::uint32_t of_vp = signal(who, fmt::format("vp{}_runs", words[2]));
        const auto start = static_cast<std::int64_t>(words[3]);
        change(start, of_vp, true);
        change(start + static_cast<std::int64_t>(words[4]), of_vp, false);
    } else if ((name == "pin" || name == "line") && words.size() == 2) {
        change(time.ps(), signal(component, fmt::format("{}{}", name, words[0])), words[1] != 0);
    }
}

std::uint32_t TraceVcd::signal(std::string_view scope, const std::string& name) {
    auto found = signals_.find(scope);
    if (found == signals_.end()) found = signals_.emplace(scope, std::map<std::string, std::uint32_t>{}).first;
    const auto [at, fresh] = found->second.emplace(name, count_);
    if (fresh) ++count_;
    return at->second;
}

void TraceVcd::change(std::int64_t at_ps, std::uint32_t signal, bool level) {
    if (changes_.size() >= most_changes) {
        full_ = true;
        return;
    }
    changes_.push_back({at_ps, signal, level});
}

void TraceVcd::write_header(std::string& out) const {
    auto to = std::back_inserter(out);
    fmt::format_to(to, "$version Verdigris $end\n$timescale 1 ps $end\n");
    for (const auto& [scope, names] : signals_) {
        fmt::format_to(to, "$scope module {} $end\n", plain(scope));
        for (const auto& [name, number] : names) {
            fmt::format_to(to, "$var wire 1 {} {} $end\n", identifier(number), plain(name));
        }
        fmt::format_to(to, "$upscope $end\n");
    }
    fmt::format_to(to, "$enddefinitions $end\n#0\n$dumpvars\n");
    for (std::uint32_t number = 0; number < count_; ++number) fmt::format_to(to, "0{}\n", identifier(number));
    fmt::format_to(to, "$end\n");
}

void TraceVcd::close() {
    if (!file_) return;
    std::string out;
    write_header(out);
    // Where a turn ends and the next of the same begins, the later record counts: it goes on.
    std::ranges::stable_sort(changes_, {}, &Change::at_ps);
    std::vector<bool> levels(count_, false);
    std::map<std::uint32_t, bool> now;
    const auto write_now = [&](std::int64_t at_ps) {
        bool stamped = at_ps == 0;
        for (const auto& [number, level] : now) {
            if (levels[number] == level) continue;
            levels[number] = level;
            if (!std::exchange(stamped, true)) fmt::format_to(std::back_inserter(out), "#{}\n", at_ps);
            fmt::format_to(std::back_inserter(out), "{}{}\n", level ? 1 : 0, identifier(number));
        }
        now.clear();
    };
    bool written = true;
    const auto put_out = [&] {
        written = written && std::fwrite(out.data(), 1, out.size(), file_) == out.size();
        out.clear();
    };
    for (std::size_t index = 0; index < changes_.size(); ++index) {
        now[changes_[index].signal] = changes_[index].level;
        if (index + 1 < changes_.size() && changes_[index + 1].at_ps == changes_[index].at_ps) continue;
        write_now(changes_[index].at_ps);
        if (out.size() >= std::size_t{1} << 20) put_out();
    }
    if (full_) out += "$comment the dump ends here: too many changes $end\n";
    put_out();
    written = std::fclose(file_) == 0 && written;
    file_ = nullptr;
    if (!written) throw sim::UserError(fmt::format("cannot write {}: is the disk full?", path_));
}

}  // namespace python
