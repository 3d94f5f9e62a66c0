#include "models/legacy/ide_dvd.h"

#include <utility>

namespace models {

IdeDvd::IdeDvd(const sim::Scope& scope, std::unique_ptr<DiskImage> image)
    : image_(std::move(image)), store_(*image_), timed_(scope, store_, {}) {}

void IdeDvd::connect(AtapiCd& drive) {
    drive_ = &drive;
    (void)put(true);
}

bool IdeDvd::put(bool in) {
    if (in == in_) return false;
    in_ = in;
    drive_->insert(in ? &timed_ : nullptr);
    return true;
}

}  // namespace models
