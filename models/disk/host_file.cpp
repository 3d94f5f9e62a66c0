#include "models/disk/host_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sim/check.h"

namespace models {
namespace {

IoStatus failure() {
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? IoStatus::no_space : IoStatus::device_error;
}

class HostFile final : public ByteFile {
public:
    HostFile(std::string name, int descriptor, std::uint64_t size, Access access)
        : ByteFile(std::move(name)), descriptor_(descriptor), size_(size), access_(access) {}
    ~HostFile() override { ::close(descriptor_); }
    HostFile(const HostFile&) = delete;
    HostFile& operator=(const HostFile&) = delete;

    // Kept rather than asked for: nobody else may change the file while it is open.
    std::uint64_t size() const override { return size_; }
    bool writable() const override { return access_ == Access::read_write; }

    IoStatus read(std::uint64_t offset, std::span<std::byte> out) const override {
        if (!holds(offset, out.size())) return IoStatus::out_of_range;
        while (!out.empty()) {
            const ssize_t done = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) return IoStatus::device_error;
            out = out.subspan(static_cast<std::size_t>(done));
            offset += static_cast<std::uint64_t>(done);
        }
        return IoStatus::ok;
    }

    IoStatus write(std::uint64_t offset, std::span<const std::byte> data) override {
        if (!writable()) return IoStatus::read_only;
        if (offset > MemoryFile::unlimited || data.size() > MemoryFile::unlimited - offset) return IoStatus::no_space;
        while (!data.empty()) {
            const ssize_t done = ::pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) return failure();
            data = data.subspan(static_cast<std::size_t>(done));
            offset += static_cast<std::uint64_t>(done);
            size_ = std::max(size_, offset);
        }
        return IoStatus::ok;
    }

    IoStatus resize(std::uint64_t bytes) override {
        if (!writable()) return IoStatus::read_only;
        if (bytes > MemoryFile::unlimited) return IoStatus::no_space;
        if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) return failure();
        size_ = bytes;
        return IoStatus::ok;
    }

    IoStatus flush() override {
        if (!writable()) return IoStatus::ok;
        return ::fdatasync(descriptor_) == 0 ? IoStatus::ok : failure();
    }

    IoStatus zero(std::uint64_t offset, std::uint64_t length) override {
        if (!writable()) return IoStatus::read_only;
        if (!holds(offset, length)) return IoStatus::out_of_range;
        if (length == 0) return IoStatus::ok;
        if (::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                        static_cast<off_t>(length)) == 0) {
            return IoStatus::ok;
        }
        return ByteFile::zero(offset, length);  // a file system without holes
    }

private:
    int descriptor_;
    std::uint64_t size_;
    Access access_;
};

std::unique_ptr<ByteFile> adopt(const std::string& path, int descriptor, Access access) {
    const auto refuse = [&](const std::string& why) {
        ::close(descriptor);
        throw sim::UserError(fmt::format("disk image '{}': {}", path, why));
    };
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) refuse(std::strerror(errno));
    if (!S_ISREG(status.st_mode)) refuse("not a regular file");
    if (::flock(descriptor, (access == Access::read_write ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        refuse(errno == EWOULDBLOCK ? "in use by another run, or as another disk of this one" : std::strerror(errno));
    }
    return std::make_unique<HostFile>(path, descriptor, static_cast<std::uint64_t>(status.st_size), access);
}

}  // namespace

std::unique_ptr<ByteFile> open_host_file(const std::string& path, Access access) {
    // Not blocking, so that a pipe by that name is refused and not waited for.
    const int flags = (access == Access::read_write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
    const int descriptor = ::open(path.c_str(), flags);
    if (descriptor < 0) throw sim::UserError(fmt::format("disk image '{}': {}", path, std::strerror(errno)));
    return adopt(path, descriptor, access);
}

std::unique_ptr<ByteFile> create_host_file(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor < 0) throw sim::UserError(fmt::format("disk image '{}': {}", path, std::strerror(errno)));
    return adopt(path, descriptor, Access::read_write);
}

}  // namespace models
