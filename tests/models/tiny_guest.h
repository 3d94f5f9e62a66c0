// Guests of a few instructions, assembled by hand: 32-bit code behind a multiboot header in an ELF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "models/byte_writer.h"
#include "models/host.h"

class TinyGuest {
public:
    static constexpr std::uint32_t load_address = 0x10'0000;
    static constexpr std::uint32_t entry = load_address + 12;  // behind the header

    TinyGuest& bytes(std::initializer_list<int> code) {
        for (const int byte : code) code_.push_back(static_cast<std::uint8_t>(byte));
        return *this;
    }
    std::uint32_t here() const { return entry + static_cast<std::uint32_t>(code_.size()); }

    // Instructions
    TinyGuest& mov_eax(std::uint32_t value) { return bytes({0xb8}).imm32(value); }
    TinyGuest& mov_ecx(std::uint32_t value) { return bytes({0xb9}).imm32(value); }
    TinyGuest& mov_edx(std::uint32_t value) { return bytes({0xba}).imm32(value); }
    TinyGuest& mov_esi(std::uint32_t value) { return bytes({0xbe}).imm32(value); }
    TinyGuest& mov_edi(std::uint32_t value) { return bytes({0xbf}).imm32(value); }
    TinyGuest& mov_esp(std::uint32_t value) { return bytes({0xbc}).imm32(value); }
    TinyGuest& store(std::uint32_t address, std::uint32_t value) {
        return bytes({0xc7, 0x05}).imm32(address).imm32(value);
    }
    TinyGuest& load_eax(std::uint32_t address) { return bytes({0xa1}).imm32(address); }
    TinyGuest& store_eax(std::uint32_t address) { return bytes({0xa3}).imm32(address); }
    TinyGuest& out_dx_al() { return bytes({0xee}); }
    TinyGuest& in_al_dx() { return bytes({0xec}); }
    TinyGuest& out8(std::uint16_t port, int value) { return mov_edx(port).bytes({0xb0, value}).out_dx_al(); }
    TinyGuest& print(std::string_view text) {
        for (const char c : text) out8(0x3f8, c);
        return *this;
    }
    TinyGuest& exit_with_eax() { return bytes({0xe7, 0xf4}); }
    TinyGuest& exit(std::uint32_t code) { return mov_eax(code).exit_with_eax(); }
    TinyGuest& halt() { return bytes({0xfa, 0xf4, 0xeb, 0xfd}); }  // CLI; HLT; again
    TinyGuest& spin() { return bytes({0xeb, 0xfe}); }
    TinyGuest& wrmsr(std::uint32_t number, std::uint64_t value) {
        return mov_ecx(number)
            .mov_eax(static_cast<std::uint32_t>(value))
            .mov_edx(static_cast<std::uint32_t>(value >> 32))
            .bytes({0x0f, 0x30});
    }
    // MOV ECX, count; what `body` adds; LOOP back.
    template <class Body>
    TinyGuest& repeat(std::uint32_t count, Body body) {
        bytes({0xb9}).imm32(count);
        const std::size_t start = code_.size();
        body(*this);
        return bytes({0xe2, static_cast<int>(static_cast<std::uint8_t>(start - (code_.size() + 2)))});
    }
    TinyGuest& text(std::string_view data) {
        for (const char c : data) code_.push_back(static_cast<std::uint8_t>(c));
        return *this;
    }
    TinyGuest& imm32(std::uint32_t value) {
        for (int shift = 0; shift < 32; shift += 8) code_.push_back(static_cast<std::uint8_t>(value >> shift));
        return *this;
    }

    std::vector<std::byte> elf() const {
        constexpr std::uint32_t header_bytes = 52 + 32, multiboot_magic = 0x1bad'b002;
        const auto size = static_cast<std::uint32_t>(12 + code_.size());
        models::ByteWriter out;
        out.u32(0x464c'457f).u8(1).u8(1).u8(1).u8(0).u64(0);        // 32-bit, little-endian
        out.u16(2).u16(3).u32(1).u32(entry).u32(52).u32(0).u32(0);  // executable, 386
        out.u16(52).u16(32).u16(1).u16(0).u16(0).u16(0);            // one program header
        out.u32(1).u32(header_bytes).u32(load_address).u32(load_address).u32(size).u32(size).u32(7).u32(4);
        out.u32(multiboot_magic).u32(0).u32(0u - multiboot_magic);
        for (const std::uint8_t byte : code_) out.u8(byte);
        return out.take();
    }
    models::PartitionConfig partition(std::string_view name, std::uint64_t memory_bytes = 8 << 20) const {
        models::PartitionConfig config;
        config.name = name;
        config.memory_bytes = memory_bytes;
        config.guest.kind = models::GuestImage::Kind::elf;
        config.guest.kernel = elf();
        return config;
    }

private:
    std::vector<std::uint8_t> code_;
};
