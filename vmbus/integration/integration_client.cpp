#include "vmbus/integration/integration_client.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

// Newest first.
constexpr std::array frameworks{ic::Version{3, 0}, ic::Version{1, 0}};

std::optional<ic::Version> first_offered(std::span<const ic::Version> own, std::span<const ic::Version> offered) {
    for (const ic::Version& version : own) {
        if (std::ranges::find(offered, version) != offered.end()) return version;
    }
    return std::nullopt;
}

}  // namespace

IntegrationClient::IntegrationClient(ic::Type type, std::span<const ic::Version> versions, GuestLink& link,
                                     IntegrationResponder& responder)
    : type_(type), versions_(versions.begin(), versions.end()), link_(link), responder_(responder) {}

void IntegrationClient::received(std::uint64_t transaction, std::span<const std::byte> packet) {
    auto message = ic::parse(packet);
    if (!message) return;
    if (message->type == ic::Type::negotiate) {
        message->body = choose(message->body);
        return reply(transaction, *message, ic::status::ok);
    }
    if (message->type != type_) return reply(transaction, *message, ic::status::fail);
    const auto status = responder_.respond(state_.version, message->body);
    if (status) return reply(transaction, *message, *status);
    state_.waiting = WaitingRequest{transaction, std::move(*message)};
}

void IntegrationClient::answer(std::uint32_t status) {
    if (!state_.waiting) return;
    WaitingRequest waiting = std::move(*state_.waiting);
    state_.waiting.reset();
    reply(waiting.transaction, waiting.message, status);
}

void IntegrationClient::reply(std::uint64_t transaction, ic::Message& message, std::uint32_t status) {
    message.status = status;
    message.flags = ic::flag::transaction | ic::flag::response;
    link_.send(transaction, ic::build(message));
}

std::vector<std::byte> IntegrationClient::choose(std::span<const std::byte> body) {
    ByteReader reader{body};
    const std::size_t framework_count = reader.u16();
    const std::size_t message_count = reader.u16();
    reader.skip(4);
    std::vector<ic::Version> offered(framework_count + message_count);
    for (ic::Version& version : offered) {
        version.major = reader.u16();
        version.minor = reader.u16();
    }
    const auto all = std::span{offered};
    const auto framework = first_offered(frameworks, all.first(framework_count));
    const auto version = first_offered(versions_, all.subspan(framework_count));
    if (!reader.complete() || !framework || !version) return ByteBuilder{}.zeros(16).take();
    state_.version = *version;
    const std::array chosen{*framework};
    const std::array chosen_message{*version};
    return ic::build_versions(chosen, chosen_message);
}

}  // namespace vmbus
