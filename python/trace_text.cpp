#include "python/trace_text.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "sim/check.h"
#include "sriov_nic/packet_record.h"

namespace python {

namespace {
constexpr std::size_t flush_bytes = std::size_t{1} << 20;

// Where the time of a network adapter's frame went: ` | to the wire: queue 0, 60 bytes, 1700 ps = doorbell 0 + ...`.
void explain_packet(std::span<const std::uint64_t> words, std::string& line) {
    const sriov_nic::PacketLife life = sriov_nic::packet_life(words);
    auto out = std::back_inserter(line);
    fmt::format_to(out, " | {}: queue {}, {} bytes, {} ps", life.way, life.queue, life.bytes, life.whole_ps);
    for (std::size_t n = 0; n < life.names.size(); ++n) {
        fmt::format_to(out, " {} {} {}", n == 0 ? '=' : '+', life.names[n], life.parts_ps[n]);
    }
}
}  // namespace

TraceText::TraceText(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb")) {
    if (!file_) throw sim::UserError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
    pending_.reserve(flush_bytes + 4096);
}

TraceText::~TraceText() {
    if (file_) std::fclose(file_);
}

void TraceText::record(sim::Time time, std::string_view component, const char* kind,
                       std::span<const std::uint64_t> words, std::span<const std::byte> bytes) {
    auto out = std::back_inserter(pending_);
    fmt::format_to(out, "{} {} {}", time.ps(), component, kind);
    for (const std::uint64_t word : words) fmt::format_to(out, " {:#x}", word);
    if (!bytes.empty()) {
        fmt::format_to(out, " hex:");
        for (const std::byte byte : bytes) fmt::format_to(out, "{:02x}", static_cast<unsigned>(byte));
    }
    if (words.size() == sriov_nic::packet_words && std::string_view{kind} == "packet") explain_packet(words, pending_);
    pending_ += '\n';
    const auto found = counts_.find(std::string_view{kind});
    if (found != counts_.end()) {
        ++found->second;
    } else {
        counts_.emplace(kind, 1);
    }
    if (pending_.size() >= flush_bytes) flush();
}

void TraceText::flush() {
    if (file_ && std::fwrite(pending_.data(), 1, pending_.size(), file_) != pending_.size()) failed_ = true;
    pending_.clear();
}

void TraceText::close() {
    if (!file_) return;
    flush();
    if (std::fclose(file_) != 0) failed_ = true;
    file_ = nullptr;
    if (failed_) throw sim::UserError(fmt::format("cannot write {}: is the disk full?", path_));
}

}  // namespace python
