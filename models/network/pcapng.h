// Writes what passes observed points to a pcapng file (draft-ietf-opsawg-pcapng): one interface per point, times in
// nanoseconds of simulated time (readers get finer ones wrong). It is an observer: it takes no part, and the same run
// gives the same bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/network/frame.h"
#include "sim/agenda.h"

namespace models {

inline constexpr std::uint32_t section_header_block = 0x0a0d0d0a;  // the same in either byte order
inline constexpr std::uint32_t interface_block = 1;
inline constexpr std::uint32_t enhanced_packet_block = 6;

// The blocks as bytes.
std::vector<std::byte> pcapng_section_header();
std::vector<std::byte> pcapng_interface(std::string_view name);
// The frame as it would be on a wire, but for its length: tagged, its checksums filled in.
std::vector<std::byte> pcapng_packet(std::uint32_t interface, sim::Time time, FrameDirection direction,
                                     const Frame& frame);

class PcapngFile final {
public:
    // A file that can't be written is a sim::UserError.
    PcapngFile(const sim::Agenda& agenda, const std::string& path);

    class Interface final : public FrameObserver {
    public:
        Interface(PcapngFile& file, std::uint32_t number) : file_(file), number_(number) {}
        void observed(FrameDirection direction, const Frame& frame) override;
        // A frame that passes now or later. The file is in the order of time.
        void observed_at(sim::Time time, FrameDirection direction, const Frame& frame);

    private:
        PcapngFile& file_;
        std::uint32_t number_;
    };

    // An interface of that name; what is returned is to be attached to the point, and lives as long as the file.
    Interface& add_interface(std::string_view name);
    // Everything observed so far is in the file. False if the disk did not take it.
    bool flush();

private:
    struct Later {
        sim::Time time;
        std::vector<std::byte> block;
    };
    void write(const std::vector<std::byte>& block);
    void write_until(sim::Time time);

    const sim::Agenda& agenda_;
    std::ofstream stream_;
    std::deque<Interface> interfaces_;
    std::deque<Later> later_;  // in the order of time
};

}  // namespace models
