// What a storage controller needs of whatever keeps the blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmbus {

struct BlockRequest {
    enum class Operation : std::uint8_t { read, write, flush, unmap };
    std::uint64_t tag = 0;  // the client's
    Operation operation = Operation::read;
    std::uint64_t offset_bytes = 0;
    std::uint64_t length_bytes = 0;
    bool force_unit_access = false;  // write: on the medium before it is completed
    std::vector<std::byte> data;     // write

    bool operator==(const BlockRequest&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(tag, operation, offset_bytes, length_bytes, force_unit_access, data);
    }
};

enum class BlockStatus : std::uint8_t { success, out_of_range, read_only, medium_error };

// Who asked. Called at the time at which the request is done, never within submit().
class BlockClient {
public:
    virtual ~BlockClient() = default;
    virtual void block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) = 0;
};

class BlockDevice {
public:
    struct Geometry {
        std::uint64_t size_bytes = 0;
        std::uint32_t logical_sector_bytes = 512;
        std::uint32_t physical_sector_bytes = 4096;
        bool read_only = false;
        bool unmap = false;  // it takes unmap requests, and unmapped blocks read as zeros
    };

    virtual ~BlockDevice() = default;
    virtual Geometry geometry() const = 0;
    // Requests may be done in any order. The device keeps the client for its answers until then; attach() names it.
    virtual void attach(BlockClient* client) = 0;
    virtual void submit(BlockRequest request) = 0;
};

}  // namespace vmbus
