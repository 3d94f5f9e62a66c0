// Linear memory for tests: one flat megabyte at linear 0, with pages that fault on demand. It keeps the port's promise:
// an access is all or nothing.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <vector>

#include "cpu/linear_memory.h"

namespace cpu::testing {

class FlatMemory final : public LinearMemory {
public:
    enum class Page : u8 { all, supervisor_only, read_only, absent, nested };

    static constexpr u64 size = 0x10'0000;
    std::vector<std::byte> bytes = std::vector<std::byte>(size);
    std::map<u64, Page> pages;  // by page number; others allow everything
    u64 accesses = 0;

    LinearAccess read(u64 linear, std::span<std::byte> out, Privilege privilege) override {
        ++accesses;
        const LinearAccess access = check(linear, out.size(), false, privilege);
        if (access.ok()) std::memcpy(out.data(), bytes.data() + linear, out.size());
        return access;
    }
    LinearAccess write(u64 linear, std::span<const std::byte> data, Privilege privilege) override {
        ++accesses;
        const LinearAccess access = check(linear, data.size(), true, privilege);
        if (access.ok()) std::memcpy(bytes.data() + linear, data.data(), data.size());
        return access;
    }

    template <class T>
    void put(u64 linear, T value) {
        std::memcpy(bytes.data() + linear, &value, sizeof value);
    }
    template <class T>
    T get(u64 linear) const {
        T value{};
        std::memcpy(&value, bytes.data() + linear, sizeof value);
        return value;
    }

private:
    LinearAccess check(u64 linear, u64 length, bool write, Privilege privilege) const {
        for (u64 at = linear; at < linear + length; at = (at | 0xfff) + 1) {
            const u64 top = at >> 47;
            if (top != 0 && top != 0x1'ffff) return {LinearResult::non_canonical, 0, 0};
            const bool user = privilege == Privilege::user;
            const u32 access = (write ? 2u : 0) | (user ? 4u : 0);
            const auto found = pages.find(at >> 12);
            const Page page = at >= size ? Page::absent : found == pages.end() ? Page::all : found->second;
            switch (page) {
                case Page::all:
                    break;
                case Page::supervisor_only:
                    if (user) return {LinearResult::page_fault, access | 1, at};
                    break;
                case Page::read_only:
                    if (write) return {LinearResult::page_fault, access | 1, at};
                    break;
                case Page::absent:
                    return {LinearResult::page_fault, access, at};
                case Page::nested:
                    return {LinearResult::nested_fault, 0, 0};
            }
        }
        if (linear + length < linear) return {LinearResult::non_canonical, 0, 0};
        return {};
    }
};

}  // namespace cpu::testing
