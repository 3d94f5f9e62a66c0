// A register file with arrays, declared in one table: name, first offset, number and distance of its elements, access,
// reset value, and handlers of registers that do something. Accesses are of 32 bits.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sim/check.h"

namespace sriov_nic {

enum class Access : std::uint8_t {
    read_write,
    read_only,
    write_only,  // reads 0
    write_one_to_clear,
    clear_on_read,  // statistics
    not_modelled,   // plain storage that nothing looks at; touches are counted
};

// A handler of reads gives what software sees, one of writes acts after the storage took the writable bits.
template <class Device>
struct Row {
    std::string_view name;
    std::uint32_t offset;
    std::uint16_t count = 1;
    std::uint16_t stride = 4;
    Access access = Access::read_write;
    std::uint32_t reset = 0;
    std::uint32_t writable = ~0u;
    std::uint32_t (Device::*read)(unsigned index, std::uint32_t stored) = nullptr;
    void (Device::*write)(unsigned index, std::uint32_t written) = nullptr;
};

// Which row owns which dword. Built once per table.
template <class Device>
class RegisterMap {
public:
    static constexpr std::uint16_t nobody = 0xffff;

    RegisterMap(std::span<const Row<Device>> rows, std::uint32_t bytes) : rows_(rows), owner_(bytes / 4, nobody) {
        for (std::size_t r = 0; r < rows.size(); ++r) {
            for (unsigned i = 0; i < rows[r].count; ++i) {
                const std::uint32_t offset = rows[r].offset + i * rows[r].stride;
                VG_CHECK(offset % 4 == 0 && offset < bytes && owner_[offset / 4] == nobody);
                owner_[offset / 4] = static_cast<std::uint16_t>(r);
            }
        }
    }
    const Row<Device>* at(std::uint32_t offset) const {
        if (offset % 4 != 0 || offset / 4 >= owner_.size() || owner_[offset / 4] == nobody) return nullptr;
        return &rows_[owner_[offset / 4]];
    }
    std::span<const Row<Device>> rows() const { return rows_; }
    std::size_t dwords() const { return owner_.size(); }

private:
    std::span<const Row<Device>> rows_;
    std::vector<std::uint16_t> owner_;
};

// What the registers hold, by offset.
class RegisterValues {
public:
    explicit RegisterValues(std::size_t dwords) : values_(dwords) {}
    std::uint32_t& operator[](std::uint32_t offset) { return values_[offset / 4]; }
    std::uint32_t operator[](std::uint32_t offset) const { return values_[offset / 4]; }
    std::uint64_t pair(std::uint32_t offset) const {
        return std::uint64_t{values_[offset / 4 + 1]} << 32 | values_[offset / 4];
    }
    void clear() { values_.assign(values_.size(), 0); }
    template <class Archive>
    void fields(Archive& archive) {
        for (std::uint32_t& value : values_) archive(value);
    }

private:
    std::vector<std::uint32_t> values_;
};

template <class Device>
class Bank {
public:
    explicit Bank(const RegisterMap<Device>& map) : map_(map), values_(map.dwords()) { reset(); }

    void reset() {
        values_.clear();
        for (const auto& row : map_.rows()) {
            for (unsigned i = 0; i < row.count; ++i) values_[row.offset + i * row.stride] = row.reset;
        }
    }

    // What nobody declared reads 0 and takes nothing.
    std::uint32_t read(Device& device, std::uint32_t offset) {
        const Row<Device>* row = map_.at(offset);
        if (row == nullptr) {
            ++touches_unknown_;
            return 0;
        }
        if (row->access == Access::not_modelled) ++touches_not_modelled_;
        if (row->access == Access::write_only) return 0;
        std::uint32_t& stored = values_[offset];
        const std::uint32_t value =
            row->read != nullptr ? (device.*row->read)((offset - row->offset) / row->stride, stored) : stored;
        if (row->access == Access::clear_on_read) stored = 0;
        return value;
    }

    void write(Device& device, std::uint32_t offset, std::uint32_t value) {
        const Row<Device>* row = map_.at(offset);
        if (row == nullptr) {
            ++touches_unknown_;
            return;
        }
        std::uint32_t& stored = values_[offset];
        switch (row->access) {
            case Access::read_only:
            case Access::clear_on_read:
                return;
            case Access::write_one_to_clear:
                stored &= ~(value & row->writable);
                break;
            case Access::not_modelled:
                ++touches_not_modelled_;
                [[fallthrough]];
            case Access::read_write:
            case Access::write_only:
                stored = (stored & ~row->writable) | (value & row->writable);
                break;
        }
        if (row->write != nullptr) (device.*row->write)((offset - row->offset) / row->stride, value);
    }

    RegisterValues& values() { return values_; }
    const RegisterValues& values() const { return values_; }

    std::uint64_t touches_unknown() const { return touches_unknown_; }
    std::uint64_t touches_not_modelled() const { return touches_not_modelled_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(values_, touches_unknown_, touches_not_modelled_);
    }

private:
    const RegisterMap<Device>& map_;
    RegisterValues values_;
    std::uint64_t touches_unknown_ = 0;
    std::uint64_t touches_not_modelled_ = 0;
};

}  // namespace sriov_nic
