#include "models/network/pcapng.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/byte_writer.h"
#include "models/network/checksum.h"
#include "models/network/headers.h"
#include "models/network/segmentation.h"

namespace models {

namespace {

constexpr std::uint16_t link_type_ethernet = 1;
constexpr std::uint16_t option_end = 0;
constexpr std::uint16_t section_application = 4;
constexpr std::uint16_t interface_name = 2;
constexpr std::uint16_t interface_time_resolution = 9;
constexpr std::uint8_t nanoseconds = 9;  // 10^-9 s
constexpr std::uint16_t packet_flags = 2;

void option(ByteWriter& block, std::uint16_t code, std::string_view value) {
    block.u16(code).u16(static_cast<std::uint16_t>(value.size())).text(value).align(4);
}

// Writes the length at both ends.
std::vector<std::byte> finish(ByteWriter& block) {
    block.patch(4, static_cast<std::uint32_t>(block.size() + 4));
    block.u32(static_cast<std::uint32_t>(block.size() + 4));
    return block.take();
}

}  // namespace

std::vector<std::byte> pcapng_section_header() {
    ByteWriter block;
    block.u32(section_header_block).u32(0).u32(0x1a2b3c4d).u16(1).u16(0).u64(~std::uint64_t{0});
    option(block, section_application, "Verdigris");
    option(block, option_end, "");
    return finish(block);
}

std::vector<std::byte> pcapng_interface(std::string_view name) {
    ByteWriter block;
    block.u32(interface_block).u32(0).u16(link_type_ethernet).u16(0).u32(0);
    option(block, interface_name, name);
    block.u16(interface_time_resolution).u16(1).u8(nanoseconds).align(4);
    option(block, option_end, "");
    return finish(block);
}

std::vector<std::byte> pcapng_packet(std::uint32_t interface, sim::Time time, FrameDirection direction,
                                     const Frame& frame) {
    Frame shown = frame;
    if (const auto headers = parse_headers(shown)) {
        write_large_send_length(shown, *headers);
        if (is_sound_large_send(shown, *headers)) shown.fill.ip = headers->ip == IpFamily::v4;
    }
    (void)fill_checksums(shown);
    put_tag_in(shown);
    const auto ns = static_cast<std::uint64_t>(time / sim::Time::ns(1));
    const auto length = static_cast<std::uint32_t>(shown.size());
    ByteWriter block;
    block.u32(enhanced_packet_block).u32(0).u32(interface);
    block.u32(static_cast<std::uint32_t>(ns >> 32)).u32(static_cast<std::uint32_t>(ns));
    block.u32(length).u32(length).bytes(shown.bytes).align(4);
    block.u16(packet_flags).u16(4).u32(direction == FrameDirection::in ? 1 : 2);
    option(block, option_end, "");
    return finish(block);
}

PcapngFile::PcapngFile(const sim::Agenda& agenda, const std::string& path)
    : agenda_(agenda), stream_(path, std::ios::binary | std::ios::trunc) {
    if (!stream_) throw sim::UserError(fmt::format("pcapng: can't write {}; does its folder exist?", path));
    write(pcapng_section_header());
}

PcapngFile::Interface& PcapngFile::add_interface(std::string_view name) {
    write(pcapng_interface(name));
    return interfaces_.emplace_back(*this, static_cast<std::uint32_t>(interfaces_.size()));
}

void PcapngFile::Interface::observed(FrameDirection direction, const Frame& frame) {
    observed_at(file_.agenda_.now(), direction, frame);
}

void PcapngFile::Interface::observed_at(sim::Time time, FrameDirection direction, const Frame& frame) {
    auto& later = file_.later_;
    const auto after = [](sim::Time t, const Later& other) { return t < other.time; };
    later.insert(std::upper_bound(later.begin(), later.end(), time, after),
                 {time, pcapng_packet(number_, time, direction, frame)});
    file_.write_until(file_.agenda_.now());
}

// Nothing can be observed any more that has passed before now.
void PcapngFile::write_until(sim::Time time) {
    for (; !later_.empty() && later_.front().time <= time; later_.pop_front()) write(later_.front().block);
}

void PcapngFile::write(const std::vector<std::byte>& block) {
    stream_.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(block.size()));
}

bool PcapngFile::flush() {
    write_until(sim::Time::never());
    stream_.flush();
    return static_cast<bool>(stream_);
}

}  // namespace models
