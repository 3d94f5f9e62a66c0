#include "vmbus/integration/file_copy.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/check.h"
#include "vmbus/inband/bytes.h"
#include "vmbus/inband/utf16.h"

namespace vmbus {

namespace {

constexpr std::array file_copy_versions{ic::Version{1, 1}};

// All begin with the operation (u32) and two identifiers (16 bytes each) that nobody uses.
constexpr std::size_t header_bytes = 36;
// Start: name and path (260 units each), flags (u32), size (u64).
constexpr std::size_t path_bytes = 520;
constexpr std::size_t start_bytes = header_bytes + 2 * path_bytes + 12;
// Write: padding (u32), offset (u64), size (u32), data.
constexpr std::size_t write_bytes = header_bytes + 16 + FileCopy::piece_bytes;
static_assert(start_bytes == 1088 && write_bytes == 6196);

ByteBuilder header(std::uint32_t operation) {
    ByteBuilder builder;
    builder.u32(operation).zeros(header_bytes - 4);
    return builder;
}

void check_length(std::string_view text, const char* what) {
    if (to_utf16(text).size() > path_bytes - 2) {
        throw sim::UserError("file copy: the " + std::string{what} +
                             " is longer than 259 characters: " + std::string{text});
    }
}

}  // namespace

FileCopy::FileCopy(const sim::Scope& scope, const ServiceHost& host, FileCopyListener* listener)
    : listener_(listener),
      service_(scope, host, {ic::Type::file_copy, interface_type::file_copy, instance, file_copy_versions}, *this),
      registration_(scope.register_state(*this)) {}

std::uint32_t FileCopy::copy(std::string_view directory, std::string_view name, std::vector<std::byte> content,
                             std::uint32_t flags) {
    check_length(directory, "directory");
    check_length(name, "name");
    Copy copy;
    copy.number = ++state_.last_copy;
    copy.directory = directory;
    copy.name = name;
    copy.flags = flags;
    copy.content = std::move(content);
    state_.copies.push_back(std::move(copy));
    if (state_.copies.size() == 1) start();
    return state_.last_copy;
}

void FileCopy::start() {
    Copy& copy = state_.copies.front();
    copy.step = Step::start;
    ByteBuilder body = header(static_cast<std::uint32_t>(Step::start));
    body.field(to_utf16(copy.name), path_bytes).field(to_utf16(copy.directory), path_bytes);
    body.u32(copy.flags).u64(copy.content.size());
    service_.ask(copy.number, body.take(), state_.timeout);
}

void FileCopy::send_piece(Copy& copy) {
    copy.step = Step::write;
    copy.asked = std::min<std::uint64_t>(piece_bytes, copy.content.size() - copy.written);
    ByteBuilder body = header(static_cast<std::uint32_t>(Step::write));
    body.u32(0).u64(copy.written).u32(static_cast<std::uint32_t>(copy.asked));
    body.field(std::span{copy.content}.subspan(copy.written, copy.asked), piece_bytes);
    service_.ask(copy.number, body.take(), state_.timeout);
}

void FileCopy::send_short(Copy& copy, Step step) {
    copy.step = step;
    service_.ask(copy.number, header(static_cast<std::uint32_t>(step)).take(), state_.timeout);
}

void FileCopy::answered(std::uint32_t token, const ic::Answer& answer) {
    if (state_.copies.empty() || state_.copies.front().number != token) return;
    Copy& copy = state_.copies.front();
    if (copy.step == Step::cancel) return end(FileCopyResult{copy.result});
    const FileCopyResult result{copy.number, answer.outcome, answer.status, copy.written + copy.asked};
    if (!answer.ok()) {
        // What the guest has begun it should not keep; if it does not answer any more, there is nothing to do.
        if (copy.step == Step::start || answer.outcome != RequestOutcome::answered) {
            return end({copy.number, answer.outcome, answer.status, copy.written});
        }
        copy.result = {copy.number, answer.outcome, answer.status, copy.written};
        return send_short(copy, Step::cancel);
    }
    copy.written += std::exchange(copy.asked, 0);
    if (copy.step == Step::complete) return end(result);
    if (copy.written < copy.content.size()) return send_piece(copy);
    send_short(copy, Step::complete);
}

void FileCopy::end(const FileCopyResult& result) {
    state_.copies.erase(state_.copies.begin());
    if (!state_.copies.empty()) start();
    if (listener_ != nullptr) listener_->file_copied(result);
}

}  // namespace vmbus
