#include "models/disk/raw_image.h"

#include <fmt/format.h>

#include "sim/check.h"

namespace models {
namespace {

class RawImage final : public DiskImage {
public:
    RawImage(std::unique_ptr<ByteFile> file, Access access)
        : DiskImage({file->size(), 512, 512}, access), file_(std::move(file)) {}
    ~RawImage() override { (void)close(); }

    ImageFormat format() const override { return ImageFormat::raw; }
    ImageKind kind() const override { return ImageKind::fixed; }

private:
    IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) override { return file_->read(offset, out); }
    IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) override {
        return file_->write(offset, data);
    }
    IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) override { return file_->zero(offset, length); }
    IoStatus do_flush() override { return file_->flush(); }

    std::unique_ptr<ByteFile> file_;
};

}  // namespace

std::unique_ptr<DiskImage> open_raw_image(std::unique_ptr<ByteFile> file, Access access) {
    if (file->size() == 0 || file->size() % 512 != 0) {
        throw sim::UserError(
            fmt::format("disk image '{}': {} bytes are no whole number of sectors; it is no disk image or truncated",
                        file->name(), file->size()));
    }
    return std::make_unique<RawImage>(std::move(file), access);
}

}  // namespace models
