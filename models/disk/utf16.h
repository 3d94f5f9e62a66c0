// UTF-16 as parent locators hold it, to and from UTF-8.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace models {

enum class ByteOrder { little, big };

// What is no UTF-8 becomes U+FFFD.
std::vector<std::byte> utf16_of(std::string_view text, ByteOrder order);
// Ends at a NUL; a lone surrogate becomes U+FFFD, an odd last byte is left out.
std::string text_of_utf16(std::span<const std::byte> units, ByteOrder order);

}  // namespace models
