#include "models/acpi/aml.h"

#include "models/byte_writer.h"
#include "sim/check.h"

namespace models::aml {
namespace {

// 20.3, table 20.1
namespace op {
constexpr std::uint8_t zero = 0x00, one = 0x01, name = 0x08, byte_prefix = 0x0a, word_prefix = 0x0b,
                       dword_prefix = 0x0c, string_prefix = 0x0d, qword_prefix = 0x0e, scope = 0x10, buffer = 0x11,
                       package = 0x12, method = 0x14, dual_name = 0x2e, multi_name = 0x2f, ext = 0x5b,
                       ext_device = 0x82, notify = 0x86, return_ = 0xa4;
}  // namespace op

Bytes with_length(std::uint8_t opcode, const Bytes& payload) {
    Bytes out{static_cast<std::byte>(opcode)};
    append(out, package_length(payload.size()));
    append(out, payload);
    return out;
}

Bytes one_byte(std::uint8_t value) {
    return {static_cast<std::byte>(value)};
}

}  // namespace

void append(Bytes& to, const Bytes& more) {
    to.insert(to.end(), more.begin(), more.end());
}

Bytes sequence(Terms terms) {
    Bytes out;
    for (const Bytes& term : terms) append(out, term);
    return out;
}

Bytes name_string(std::string_view name) {
    ByteWriter prefix;
    ByteWriter segments;
    std::uint8_t count = 0;
    while (!name.empty() && (name.front() == '\\' || name.front() == '^')) {
        prefix.u8(static_cast<std::uint8_t>(name.front()));
        name.remove_prefix(1);
    }
    while (!name.empty()) {
        const std::string_view segment = name.substr(0, name.find('.'));
        VG_CHECK(!segment.empty() && segment.size() <= 4);
        segments.text(segment).text(std::string_view{"____"}.substr(segment.size()));
        ++count;
        name.remove_prefix(std::min(name.size(), segment.size() + 1));
    }
    if (count == 0) prefix.u8(op::zero);  // NullName: the root itself
    if (count == 2) prefix.u8(op::dual_name);
    if (count > 2) prefix.u8(op::multi_name).u8(count);
    return prefix.bytes(segments.data()).take();
}

Bytes package_length(std::size_t payload_bytes) {
    // One byte holds 6 bits; otherwise 4 bits and one to three bytes more.
    if (payload_bytes + 1 < 0x40) return one_byte(static_cast<std::uint8_t>(payload_bytes + 1));
    for (std::size_t more = 1; more <= 3; ++more) {
        const std::size_t total = payload_bytes + 1 + more;
        if (total >> (4 + 8 * more) != 0) continue;
        ByteWriter out;
        out.u8(static_cast<std::uint8_t>(more << 6 | (total & 0xf)));
        for (std::size_t i = 0; i < more; ++i) out.u8(static_cast<std::uint8_t>(total >> (4 + 8 * i)));
        return out.take();
    }
    VG_CHECK(false, "an AML term is longer than 2^28 bytes");
    return {};
}

Bytes integer(std::uint64_t value) {
    ByteWriter out;
    if (value == 0) {
        out.u8(op::zero);
    } else if (value == 1) {
        out.u8(op::one);
    } else if (value <= 0xff) {
        out.u8(op::byte_prefix).u8(static_cast<std::uint8_t>(value));
    } else if (value <= 0xffff) {
        out.u8(op::word_prefix).u16(static_cast<std::uint16_t>(value));
    } else if (value <= 0xffff'ffff) {
        out.u8(op::dword_prefix).u32(static_cast<std::uint32_t>(value));
    } else {
        out.u8(op::qword_prefix).u64(value);
    }
    return out.take();
}

Bytes string(std::string_view text) {
    return ByteWriter{}.u8(op::string_prefix).text(text).u8(0).take();
}

// Three letters of 5 bits and four hexadecimal digits, stored with the first letter in the lowest byte (6.1.5).
Bytes eisa_id(std::string_view id) {
    VG_CHECK(id.size() == 7);
    std::uint32_t value = 0;
    for (int i = 0; i < 3; ++i) value = value << 5 | static_cast<std::uint32_t>(id[static_cast<std::size_t>(i)] - '@');
    for (const char c : id.substr(3)) {
        VG_CHECK((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
        value = value << 4 | static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    return integer(__builtin_bswap32(value));
}

Bytes package(Terms elements) {
    return package_of({elements.begin(), elements.end()});
}

Bytes package_of(const std::vector<Bytes>& elements) {
    VG_CHECK(elements.size() <= 0xff);
    Bytes content = one_byte(static_cast<std::uint8_t>(elements.size()));
    for (const Bytes& element : elements) append(content, element);
    return with_length(op::package, content);
}

Bytes buffer(const Bytes& content) {
    return with_length(op::buffer, sequence({integer(content.size()), content}));
}

Bytes name(std::string_view at, const Bytes& value) {
    return sequence({one_byte(op::name), name_string(at), value});
}

Bytes scope(std::string_view at, Terms body) {
    return with_length(op::scope, sequence({name_string(at), sequence(body)}));
}

Bytes device(std::string_view at, Terms body) {
    Bytes out = one_byte(op::ext);
    append(out, with_length(op::ext_device, sequence({name_string(at), sequence(body)})));
    return out;
}

Bytes method(std::string_view at, unsigned arguments, Serialize serialize, Terms body) {
    VG_CHECK(arguments <= 7);
    const auto flags = static_cast<std::uint8_t>(arguments | (serialize == Serialize::yes ? 8u : 0u));
    return with_length(op::method, sequence({name_string(at), one_byte(flags), sequence(body)}));
}

Bytes return_value(const Bytes& value) {
    return sequence({one_byte(op::return_), value});
}

Bytes notify(std::string_view object, std::uint64_t value) {
    return sequence({one_byte(op::notify), name_string(object), integer(value)});
}

// 6.4.2.5: all 16 address bits are decoded.
Bytes io_ports(std::uint16_t first, std::uint8_t count) {
    return ByteWriter{}.u8(0x47).u8(1).u16(first).u16(first).u8(1).u8(count).take();
}

// 6.4.3.6, extended interrupt descriptor: consumer, active high, exclusive.
Bytes interrupt(std::uint32_t gsi, Trigger trigger) {
    const auto flags = static_cast<std::uint8_t>(1 | (trigger == Trigger::edge ? 2 : 0));
    return ByteWriter{}.u8(0x89).u16(6).u8(flags).u8(1).u32(gsi).take();
}

// 6.4.3.5.1: producer, both ends fixed, cacheable, read-write.
Bytes qword_memory(std::uint64_t first, std::uint64_t length) {
    return ByteWriter{}
        .u8(0x8a)
        .u16(0x2b)
        .u8(0)
        .u8(0x0c)
        .u8(0x03)
        .u64(0)
        .u64(first)
        .u64(first + length - 1)
        .u64(0)
        .u64(length)
        .take();
}

// 6.4.3.5.2: as above.
Bytes dword_memory(std::uint32_t first, std::uint32_t length) {
    return ByteWriter{}
        .u8(0x87)
        .u16(0x17)
        .u8(0)
        .u8(0x0c)
        .u8(0x03)
        .u32(0)
        .u32(first)
        .u32(first + length - 1)
        .u32(0)
        .u32(length)
        .take();
}

// 6.4.3.5.3: producer, both ends fixed; the whole range of I/O ports, or bus numbers.
Bytes io_window(std::uint16_t first, std::uint32_t length) {
    const auto last = static_cast<std::uint16_t>(first + length - 1);
    return ByteWriter{}
        .u8(0x88)
        .u16(0x0d)
        .u8(1)
        .u8(0x0c)
        .u8(0x03)
        .u16(0)
        .u16(first)
        .u16(last)
        .u16(0)
        .u16(static_cast<std::uint16_t>(length))
        .take();
}

Bytes bus_numbers(std::uint16_t first, std::uint16_t count) {
    const auto last = static_cast<std::uint16_t>(first + count - 1);
    return ByteWriter{}.u8(0x88).u16(0x0d).u8(2).u8(0x0c).u8(0).u16(0).u16(first).u16(last).u16(0).u16(count).take();
}

Bytes resource_template(Terms descriptors) {
    Bytes content = sequence(descriptors);
    append(content, {std::byte{0x79}, std::byte{0}});  // end tag; checksum 0 means "not checked" (6.4.2.9)
    return buffer(content);
}

}  // namespace models::aml
