// What all integration services do alike: agree on versions as soon as the guest opens the channel, then ask one
// request at a time and wait for its answer. The guest's drivers take one message per interrupt and some answer late,
// when a daemon in user space does (KVP does not even agree on versions before it runs), so a request that ran out of
// time keeps its place at the guest until the answer comes or the channel closes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "vmbus/inband/inband_port.h"
#include "vmbus/integration/ic_protocol.h"

namespace vmbus {

enum class RequestOutcome : std::uint8_t {
    answered,       // by the guest; its status says how it went
    timed_out,      // the guest has not answered in time
    disconnected,   // the channel was closed before the answer
    not_supported,  // not with the version that the guest chose, or it refused all
};

std::string_view to_text(RequestOutcome outcome);

namespace ic {

// An answer, or that there is none.
struct Answer {
    RequestOutcome outcome = RequestOutcome::answered;
    std::uint32_t status = 0;
    std::span<const std::byte> body;

    bool ok() const { return outcome == RequestOutcome::answered && status == status::ok; }
};

enum class Phase : std::uint8_t {
    closed,       // the guest has not opened the channel
    negotiating,  // it has been asked for versions
    ready,
    refused,  // it supports none of the versions
};

// Who uses an IcService.
class User {
public:
    virtual void negotiated(Version version) = 0;
    // To one request, in the order of asking. `token` is what the request was asked with.
    virtual void answered(std::uint32_t token, const Answer& answer) = 0;
    virtual void disconnected() {}

protected:
    ~User() = default;
};

// What a service is.
struct Description {
    Type type;
    Guid interface;
    Guid instance;
    std::span<const Version> versions;  // oldest first
};

class Service final : private InbandDevice {
public:
    Service(const sim::Scope& scope, const ServiceHost& host, const Description& description, User& user);

    // Asks as soon as the guest is ready and has answered what was asked before. The time runs from now.
    void ask(std::uint32_t token, std::vector<std::byte> body, sim::Time timeout);

    Phase phase() const { return state_.phase; }
    Version version() const { return state_.version; }
    bool idle() const { return state_.requests.empty() && !state_.at_guest; }
    // Requests that nobody has answered yet, in time or not.
    std::size_t pending() const { return state_.requests.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timeout_, port_);
    }

private:
    struct Request {
        std::uint32_t token = 0;
        sim::Time deadline;
        bool sent = false;
        std::vector<std::byte> body;

        bool operator==(const Request&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(token, deadline, sent, body);
        }
    };
    struct State {
        Phase phase = Phase::closed;
        Version framework;
        Version version;
        std::deque<Request> requests;
        // What the guest holds: the type that it was asked and the transaction.
        std::optional<Type> at_guest;
        std::uint8_t transaction = 0;
        std::uint64_t packets = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, framework, version, requests, at_guest, transaction, packets);
        }
    };

    void opened() override;
    void closed() override;
    void received(std::span<const std::byte> message, std::uint64_t transaction) override;
    void choose(const Message& message);
    void send(Type type, std::vector<std::byte> body);
    void send_next();
    void fail_all(RequestOutcome outcome);
    void expired();
    void update_timeout();

    sim::Scope scope_;
    Description description_;
    User& user_;
    State state_;
    sim::Counter& requests_;
    sim::Counter& answers_;
    sim::Counter& timeouts_;
    sim::Counter& strays_;
    sim::Timer timeout_;
    InbandPort port_;
};

}  // namespace ic
}  // namespace vmbus
