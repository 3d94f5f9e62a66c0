// The guest's side of any integration service, as Linux's drivers do it: picks the first of its own versions that the
// host offers, and sends every request back in its own bytes with a status. What is behind a service is a Responder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/inband/guest_link.h"
#include "vmbus/integration/ic_protocol.h"

namespace vmbus {

class IntegrationResponder {
public:
    // Carries out a request; may change the body. The status of the answer, or nothing: it comes later, by answer().
    virtual std::optional<std::uint32_t> respond(ic::Version version, std::vector<std::byte>& body) = 0;

protected:
    ~IntegrationResponder() = default;
};

// A request that is answered later.
struct WaitingRequest {
    std::uint64_t transaction = 0;
    ic::Message message;

    template <class Archive>
    void fields(Archive& archive) {
        archive(transaction, message.framework, message.type, message.version, message.status, message.transaction,
                message.flags, message.body);
    }
};

class IntegrationClient final {
public:
    // `versions`: newest first.
    IntegrationClient(ic::Type type, std::span<const ic::Version> versions, GuestLink& link,
                      IntegrationResponder& responder);

    void received(std::uint64_t transaction, std::span<const std::byte> packet);
    // To the request that waits.
    void answer(std::uint32_t status);

    ic::Version version() const { return state_.version; }
    bool waiting() const { return state_.waiting.has_value(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        ic::Version version;
        std::optional<WaitingRequest> waiting;

        template <class Archive>
        void fields(Archive& archive) {
            archive(version, waiting);
        }
    };

    void reply(std::uint64_t transaction, ic::Message& message, std::uint32_t status);
    std::vector<std::byte> choose(std::span<const std::byte> body);

    ic::Type type_;
    std::vector<ic::Version> versions_;
    GuestLink& link_;
    IntegrationResponder& responder_;
    State state_;
};

}  // namespace vmbus
