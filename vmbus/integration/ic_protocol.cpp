#include "vmbus/integration/ic_protocol.h"

#include "vmbus/inband/bytes.h"
#include "vmbus/inband/inband_port.h"

namespace vmbus::ic {

namespace {

Version read_version(ByteReader& reader) {
    Version version;
    version.major = reader.u16();
    version.minor = reader.u16();
    return version;
}

void write_version(ByteBuilder& builder, const Version& version) {
    builder.u16(version.major).u16(version.minor);
}

}  // namespace

std::vector<std::byte> build(const Message& message) {
    ByteBuilder builder;
    write_version(builder, message.framework);
    builder.u16(static_cast<std::uint16_t>(message.type));
    write_version(builder, message.version);
    builder.u16(static_cast<std::uint16_t>(message.body.size())).u32(message.status);
    builder.u8(message.transaction).u8(message.flags).u16(0).bytes(message.body);
    return pipe::wrap(builder.take());
}

std::optional<Message> parse(std::span<const std::byte> packet) {
    // Guests send back what they got with its padding and leave the pipe header as it was, so the packet's own length
    // counts and not the pipe's.
    ByteReader reader{packet};
    reader.skip(pipe::header_bytes);
    Message message;
    message.framework = read_version(reader);
    message.type = static_cast<Type>(reader.u16());
    message.version = read_version(reader);
    const std::uint16_t body_bytes = reader.u16();
    message.status = reader.u32();
    message.transaction = reader.u8();
    message.flags = reader.u8();
    reader.skip(2);
    const auto body = reader.bytes(body_bytes);
    if (!reader.complete()) return std::nullopt;
    message.body.assign(body.begin(), body.end());
    return message;
}

std::vector<std::byte> build_versions(std::span<const Version> framework, std::span<const Version> message) {
    ByteBuilder builder;
    builder.u16(static_cast<std::uint16_t>(framework.size())).u16(static_cast<std::uint16_t>(message.size())).u32(0);
    for (const Version& version : framework) write_version(builder, version);
    for (const Version& version : message) write_version(builder, version);
    return builder.take();
}

std::optional<Choice> parse_choice(std::span<const std::byte> body) {
    ByteReader reader{body};
    const std::uint16_t frameworks = reader.u16();
    const std::uint16_t messages_chosen = reader.u16();
    reader.skip(4);
    Choice choice;
    choice.framework = read_version(reader);
    choice.message = read_version(reader);
    if (!reader.complete() || frameworks != 1 || messages_chosen != 1) return std::nullopt;
    return choice;
}

}  // namespace vmbus::ic
