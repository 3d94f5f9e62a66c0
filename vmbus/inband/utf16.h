// Text in the protocols is little-endian UTF-16 with a zero at its end; here it is UTF-8.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmbus {

// Without the zero at the end. What is no UTF-8 becomes U+FFFD.
std::vector<std::byte> to_utf16(std::string_view text);
// Up to the first zero or the end. What is no UTF-16 becomes U+FFFD.
std::string from_utf16(std::span<const std::byte> units);

}  // namespace vmbus
