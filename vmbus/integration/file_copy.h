// File copy: the host writes a file into the guest, piece by piece, through the guest's daemon.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

struct FileCopyResult {
    std::uint32_t copy = 0;
    RequestOutcome outcome = RequestOutcome::answered;
    std::uint32_t status = 0;  // 0x80070050: exists already, 0x80070070: no room, 0x80004005: no daemon, ...
    std::uint64_t bytes_written = 0;

    bool ok() const { return outcome == RequestOutcome::answered && status == ic::status::ok; }
};

class FileCopyListener {
public:
    virtual void file_copied(const FileCopyResult& result) = 0;

protected:
    ~FileCopyListener() = default;
};

class FileCopy final : private ic::User {
public:
    static constexpr Guid instance = guid("eb765408-105f-49b6-b4aa-c123b64d17d4");
    static constexpr std::size_t piece_bytes = 6 * 1024;
    static constexpr std::uint32_t overwrite = 1;
    static constexpr std::uint32_t create_path = 2;

    FileCopy(const sim::Scope& scope, const ServiceHost& host, FileCopyListener* listener = nullptr);

    // Writes `content` to `directory`/`name`. One copy after the other; the number returned tells them apart. A name or
    // directory of more than 259 characters throws sim::UserError.
    std::uint32_t copy(std::string_view directory, std::string_view name, std::vector<std::byte> content,
                       std::uint32_t flags = overwrite | create_path);

    void set_timeout(sim::Time timeout) { state_.timeout = timeout; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }
    std::size_t pending() const { return state_.copies.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, service_);
    }

private:
    enum class Step : std::uint8_t { start, write, complete, cancel };
    struct Copy {
        std::uint32_t number = 0;
        std::string directory;
        std::string name;
        std::uint32_t flags = 0;
        std::vector<std::byte> content;
        std::uint64_t written = 0;
        std::uint64_t asked = 0;  // of the piece that the guest has
        Step step = Step::start;
        FileCopyResult result;  // told once a failed copy has been cancelled

        template <class Archive>
        void fields(Archive& archive) {
            archive(number, directory, name, flags, content, written, asked, step, result.copy, result.outcome,
                    result.status, result.bytes_written);
        }
    };
    struct State {
        sim::Time timeout = sim::Time::s(60);
        std::uint32_t last_copy = 0;
        std::vector<Copy> copies;  // the first is under way

        template <class Archive>
        void fields(Archive& archive) {
            archive(timeout, last_copy, copies);
        }
    };

    void negotiated(ic::Version) override {}
    void answered(std::uint32_t token, const ic::Answer& answer) override;
    void start();
    void send_piece(Copy& copy);
    void send_short(Copy& copy, Step step);
    void end(const FileCopyResult& result);

    FileCopyListener* listener_;
    State state_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
