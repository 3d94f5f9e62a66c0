// Register banks: a device declares its registers in one table (name, offset, width, access, reset value, handlers),
// and the bank decodes accesses by it. What is not modelled is declared as such; touches of it are counted.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sim/check.h"

namespace sim {

enum class RegisterAccess : std::uint8_t {
    read_only,
    write_only,
    read_write,
    write_one_to_clear,
    not_modelled,  // reads the reset value, ignores writes, counts both
};

// One row. Without handlers a register is plain storage: reset value and writable bits say all. `read` gives the value
// the guest sees; `write` acts after the storage (through `writable` bits) was updated.
template <class Device>
struct Register {
    std::string_view name;
    std::uint32_t offset;
    std::uint8_t width_bytes;
    RegisterAccess access;
    std::uint64_t reset = 0;
    std::uint64_t writable = ~0ull;
    std::uint64_t (Device::*read)(std::uint64_t stored) = nullptr;
    void (Device::*write)(std::uint64_t written) = nullptr;
};

template <class Device>
class RegisterBank {
public:
    // The table has static storage: sorted by offset, not overlapping (checked here, once).
    explicit RegisterBank(std::span<const Register<Device>> table) : table_(table) {
        for (std::size_t i = 1; i < table.size(); ++i) {
            VG_CHECK(table[i - 1].offset + table[i - 1].width_bytes <= table[i].offset);
        }
        reset();
    }

    void reset() {
        values_.clear();
        for (const auto& row : table_) values_.push_back(row.reset);
        touches_not_modelled_ = 0;
        touches_unknown_ = 0;
    }

    // Unknown offsets and wrong widths read as all ones and ignore writes, as an unclaimed bus does.
    std::uint64_t read(Device& device, std::uint32_t offset, unsigned width_bytes) {
        const std::size_t i = find(offset, width_bytes);
        if (i == table_.size()) {
            ++touches_unknown_;
            return width_bytes >= 8 ? ~0ull : (1ull << (8 * width_bytes)) - 1;
        }
        const auto& row = table_[i];
        if (row.access == RegisterAccess::not_modelled) ++touches_not_modelled_;
        if (row.access == RegisterAccess::write_only) return 0;
        return row.read != nullptr ? (device.*row.read)(values_[i]) : values_[i];
    }

    void write(Device& device, std::uint32_t offset, unsigned width_bytes, std::uint64_t value) {
        const std::size_t i = find(offset, width_bytes);
        if (i == table_.size()) {
            ++touches_unknown_;
            return;
        }
        const auto& row = table_[i];
        switch (row.access) {
            case RegisterAccess::not_modelled:
                ++touches_not_modelled_;
                return;
            case RegisterAccess::read_only:
                return;
            case RegisterAccess::write_one_to_clear:
                values_[i] &= ~(value & row.writable);
                break;
            case RegisterAccess::write_only:
            case RegisterAccess::read_write:
                values_[i] = (values_[i] & ~row.writable) | (value & row.writable);
                break;
        }
        if (row.write != nullptr) (device.*row.write)(value);
    }

    std::uint64_t& stored(std::uint32_t offset) { return values_[index_of(offset)]; }
    std::uint64_t stored(std::uint32_t offset) const { return values_[index_of(offset)]; }

    std::uint64_t touches_not_modelled() const { return touches_not_modelled_; }
    std::uint64_t touches_unknown() const { return touches_unknown_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(values_, touches_not_modelled_, touches_unknown_);
    }

private:
    std::size_t index_of(std::uint32_t offset) const {
        for (std::size_t i = 0; i < table_.size(); ++i) {
            if (table_[i].offset == offset) return i;
        }
        VG_CHECK(false, "no register at that offset");
        return 0;
    }

    std::size_t find(std::uint32_t offset, unsigned width_bytes) const {
        std::size_t low = 0;
        std::size_t high = table_.size();
        while (low < high) {
            const std::size_t middle = (low + high) / 2;
            if (table_[middle].offset < offset) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        const bool hit = low < table_.size() && table_[low].offset == offset && table_[low].width_bytes == width_bytes;
        return hit ? low : table_.size();
    }

    std::span<const Register<Device>> table_;
    std::vector<std::uint64_t> values_;
    std::uint64_t touches_not_modelled_ = 0;
    std::uint64_t touches_unknown_ = 0;
};

}  // namespace sim
