// A DVD drive of a partition on an IDE channel: an image that is only read, its time model, and whether it is in.
#pragma once

#include <memory>

#include "models/legacy/atapi_cd.h"
#include "models/virtual_disk.h"
#include "vmbus/storage/block_timing.h"

namespace models {

class IdeDvd final {
public:
    IdeDvd(const sim::Scope& scope, std::unique_ptr<DiskImage> image);
    // The disc is in the drive at first.
    void connect(AtapiCd& drive);

    // By the operator's hand. True: something changed.
    bool insert() { return put(true); }
    bool eject() { return put(false); }

    // Before the drive's own state, which knows what the guest has heard of the disc.
    template <class Archive>
    void fields(Archive& archive) {
        bool in = in_;
        archive(in);
        if constexpr (Archive::reading) (void)put(in);
    }

private:
    bool put(bool in);

    std::unique_ptr<DiskImage> image_;
    ImageStore store_;
    vmbus::TimedDisk timed_;
    AtapiCd* drive_ = nullptr;
    bool in_ = false;
};

}  // namespace models
