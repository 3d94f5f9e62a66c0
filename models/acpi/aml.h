// A small encoder of ACPI machine language (ACPI 6.4, chapter 20): each function returns the bytes of one term, and
// terms nest by passing them on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace models::aml {

using Bytes = std::vector<std::byte>;
using Terms = std::initializer_list<Bytes>;

// Names are "NAME", "\\_SB", "\\_SB.VMOD" or "^X": segments of up to 4 characters are padded with '_'.
Bytes name_string(std::string_view name);
Bytes package_length(std::size_t payload_bytes);  // 20.2.4: counts itself

// Data objects. Integers take their shortest form.
Bytes integer(std::uint64_t value);
Bytes string(std::string_view text);
Bytes eisa_id(std::string_view id);  // "PNP0501"
Bytes package(Terms elements);
Bytes package_of(const std::vector<Bytes>& elements);
Bytes buffer(const Bytes& content);

// Named objects.
Bytes name(std::string_view name, const Bytes& value);
Bytes scope(std::string_view name, Terms body);
Bytes device(std::string_view name, Terms body);
enum class Serialize : std::uint8_t { no, yes };
Bytes method(std::string_view name, unsigned arguments, Serialize serialize, Terms body);

// Statements.
Bytes return_value(const Bytes& value);
Bytes notify(std::string_view object, std::uint64_t value);

// Resource descriptors (6.4), and the buffer that holds a list of them with its end tag.
Bytes io_ports(std::uint16_t first, std::uint8_t count);
enum class Trigger : std::uint8_t { level, edge };
Bytes interrupt(std::uint32_t gsi, Trigger trigger);
Bytes qword_memory(std::uint64_t first, std::uint64_t length);
Bytes dword_memory(std::uint32_t first, std::uint32_t length);
Bytes io_window(std::uint16_t first, std::uint32_t length);
Bytes bus_numbers(std::uint16_t first, std::uint16_t count);
Bytes resource_template(Terms descriptors);

// All terms one after the other.
Bytes sequence(Terms terms);
void append(Bytes& to, const Bytes& more);

}  // namespace models::aml
