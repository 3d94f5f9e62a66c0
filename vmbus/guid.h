// GUIDs in their wire form: the first three fields little-endian.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmbus {

struct Guid {
    std::array<std::uint8_t, 16> bytes{};

    friend auto operator<=>(const Guid&, const Guid&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes);
    }
};

// "f8615163-df3e-46c5-913f-f2d2f965ed0e", checked when compiled.
consteval Guid guid(std::string_view text) {
    const auto digit = [](char c) -> std::uint8_t {
        if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
        if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
        throw "a GUID is 8-4-4-4-12 lower-case hexadecimal digits";
    };
    if (text.size() != 36) throw "a GUID has 36 characters";
    constexpr std::array<std::size_t, 16> order{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    Guid result;
    std::size_t at = 0;
    for (std::size_t n = 0; n < 16; ++n) {
        if (n == 4 || n == 6 || n == 8 || n == 10) {
            if (text[at++] != '-') throw "a GUID has dashes between its groups";
        }
        result.bytes[order[n]] = static_cast<std::uint8_t>(digit(text[at]) << 4 | digit(text[at + 1]));
        at += 2;
    }
    return result;
}

std::string to_text(const Guid& guid);

// Devices on the bus (interface types).
namespace interface_type {
inline constexpr Guid network = guid("f8615163-df3e-46c5-913f-f2d2f965ed0e");
inline constexpr Guid ide = guid("32412632-86cb-44a2-9b5c-50d1417354f5");
inline constexpr Guid scsi = guid("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f");
inline constexpr Guid pci = guid("44c4f61d-4444-4400-9d52-802e27ede19f");
inline constexpr Guid video = guid("da0a7802-e377-4aac-8e77-0558eb1073f8");
inline constexpr Guid keyboard = guid("f912ad6d-2b17-48ea-bd65-f927a61c7684");
inline constexpr Guid mouse = guid("cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a");
inline constexpr Guid shutdown = guid("0e0b6031-5213-4934-818b-38d90ced39db");
inline constexpr Guid time_sync = guid("9527e630-d0ae-497b-adce-e80ab0175caf");
inline constexpr Guid heartbeat = guid("57164f39-9115-4e78-ab55-382f3bd5422d");
inline constexpr Guid key_value_pair = guid("a9a0f4e7-5a45-4d96-b827-8a841e8c03e6");
inline constexpr Guid volume_snapshot = guid("35fa2e29-ea23-4236-96ae-3a6ebacba440");
inline constexpr Guid file_copy = guid("34d14be3-dee4-41c8-9ae7-6b174977c192");
inline constexpr Guid dynamic_memory = guid("525074dc-8985-46e2-8057-a307dc18a502");
}  // namespace interface_type

}  // namespace vmbus
