// A file on a disk with a volatile write cache, for tests: what is not flushed may survive a power cut or not, in any
// order, and a write may be torn between two sectors of 512 bytes.
#pragma once

#include <functional>
#include <vector>

#include "models/disk/byte_file.h"
#include "sim/random.h"

namespace models {

class PowerCutFile final : public ByteFile {
public:
    static constexpr std::uint64_t sector_bytes = 512;

    explicit PowerCutFile(MemoryFile content)
        : ByteFile(content.name()), durable_(content), seen_(std::move(content)) {}

    std::uint64_t size() const override { return seen_.size(); }
    bool writable() const override { return true; }
    IoStatus read(std::uint64_t offset, std::span<std::byte> out) const override { return seen_.read(offset, out); }
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data) override;
    IoStatus resize(std::uint64_t bytes) override;
    IoStatus flush() override;
    IoStatus zero(std::uint64_t offset, std::uint64_t length) override;

    // Called before each operation that changes the file or flushes it: the instants at which power can fail.
    void before_operation(std::function<void()> hook) { hook_ = std::move(hook); }

    // What a machine finds that loses power now. Each draw is another possible outcome.
    MemoryFile after_power_cut(sim::Random& random) const;

private:
    enum class Kind : std::uint8_t { write, zero, grow, shrink };
    struct Operation {
        Kind kind;
        std::uint64_t offset = 0;  // or the new size
        std::uint64_t length = 0;
        std::vector<std::byte> data;
    };
    enum class Fate : std::uint8_t { kept, dropped, torn };

    void begin(Operation operation);
    static void land(MemoryFile& file, const Operation& operation, Fate fate, sim::Random& random);

    MemoryFile durable_;  // as of the last flush
    MemoryFile seen_;     // with everything since
    std::vector<Operation> unflushed_;
    std::function<void()> hook_;
};

}  // namespace models
