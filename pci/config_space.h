// One function's configuration registers: values within a shared layout, guest accesses of any width through the masks,
// and those who listen to registers with an effect.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pci/config_layout.h"
#include "pci/reset_kind.h"

namespace pci {

// Behind a register with an effect.
class ConfigListener {
public:
    // After a write that touched the register, with its whole old and new content.
    virtual void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) = 0;
    // What a read gives instead of the stored content.
    virtual std::uint32_t config_read(std::uint16_t offset, std::uint32_t stored) {
        (void)offset;
        return stored;
    }

protected:
    ~ConfigListener() = default;
};

class ConfigSpace final {
public:
    explicit ConfigSpace(std::shared_ptr<const ConfigLayout> layout);

    const ConfigLayout& layout() const { return *layout_; }

    // Guest accesses: any offset and size of 1, 2 or 4. Beyond the space reads are all ones and writes go nowhere.
    std::uint32_t read(unsigned offset, unsigned size);
    void write(unsigned offset, unsigned size, std::uint32_t value);

    // The owner's view: no masks, no listeners.
    std::uint32_t get(unsigned offset, unsigned size) const;
    void set(unsigned offset, unsigned size, std::uint32_t value);
    void set_bits(unsigned offset, unsigned size, std::uint32_t bits) { set(offset, size, get(offset, size) | bits); }

    // The register at `offset`, of 1, 2 or 4 bytes. Registers of listeners don't overlap.
    void listen(std::uint16_t offset, unsigned width_bytes, ConfigListener& listener);

    // Sticky bits survive all but a cold reset. Listeners aren't told: whoever resets knows.
    void reset(ResetKind kind);

    template <class Archive>
    void fields(Archive& archive) {
        for (std::uint8_t& byte : values_) archive(byte);  // their number is the layout's
    }

private:
    struct Listening {
        std::uint16_t offset;
        std::uint16_t end;
        ConfigListener* listener;
        bool covers(unsigned first, unsigned last) const { return offset <= last && first < end; }
    };

    std::shared_ptr<const ConfigLayout> layout_;
    std::vector<std::uint8_t> values_;
    std::vector<Listening> listening_;  // by offset
};

}  // namespace pci
