// What the tests of disk images share: a plain model of a disk, workloads on both, temporary files, qemu-img.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/disk/disk_image.h"
#include "models/disk/host_file.h"
#include "models/disk/image_check.h"
#include "sim/random.h"

namespace disk_test {

using models::DiskImage;
using models::ImageFormat;
using models::ImageKind;
using models::IoStatus;
using models::MemoryFile;
using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t kib = 1024, mib = 1024 * kib;

// Content that tells where it belongs and which write it comes from.
constexpr std::uint64_t content_word(std::uint64_t offset, std::uint64_t version) {
    return offset * 0x9e37'79b9'7f4a'7c15ull ^ (version + 1) * 0xd6e8'feb8'6659'fd93ull;
}
inline Bytes content(std::uint64_t offset, std::size_t length, std::uint64_t version) {
    Bytes bytes(length);
    for (std::size_t i = 0; i + 8 <= length; i += 8) {
        const std::uint64_t word = content_word(offset + i, version);
        std::memcpy(bytes.data() + i, &word, 8);
    }
    return bytes;
}

inline Bytes read(DiskImage& disk, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length, std::byte{0xaa});
    REQUIRE(disk.read(offset, bytes) == IoStatus::ok);
    return bytes;
}

inline Bytes read(const models::ByteFile& file, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length, std::byte{0xaa});
    REQUIRE(file.read(offset, bytes) == IoStatus::ok);
    return bytes;
}

// The whole of a small disk or file.
template <class T>
Bytes all_of(T& source, std::uint64_t size) {
    return read(source, 0, static_cast<std::size_t>(size));
}

// Writes and unmaps at random to a disk and to plain memory.
class Workload final {
public:
    Workload(std::uint64_t size, std::uint32_t sector, std::uint64_t seed)
        : plain_(size), sector_(sector), random_(seed) {}

    void step(DiskImage& disk) {
        const std::uint64_t sectors = plain_.size() / sector_;
        // Mostly small, sometimes over several blocks.
        const std::uint64_t most = random_.one_in(8) ? sectors / 3 + 1 : random_.one_in(2) ? 8 : 200;
        const std::uint64_t count = random_.between(1, std::min(most, sectors));
        const std::uint64_t offset = random_.below(sectors - count + 1) * sector_, length = count * sector_;
        if (random_.one_in(6)) {
            REQUIRE(disk.unmap(offset, length) == IoStatus::ok);
            std::memset(plain_.data() + offset, 0, length);
        } else {
            const Bytes data = content(offset, length, ++version_);
            REQUIRE(disk.write(offset, data) == IoStatus::ok);
            std::memcpy(plain_.data() + offset, data.data(), length);
        }
        if (random_.one_in(10)) REQUIRE(disk.flush() == IoStatus::ok);
    }
    void run(DiskImage& disk, int steps) {
        for (int i = 0; i < steps; ++i) step(disk);
    }

    Bytes& plain() { return plain_; }
    bool matches(DiskImage& disk) { return all_of(disk, disk.size_bytes()) == plain_; }

private:
    Bytes plain_;
    std::uint32_t sector_;
    sim::Random random_;
    std::uint64_t version_ = 0;
};

// Files in memory by name, as parents.
class MemoryParents final : public models::ParentFiles {
public:
    void add(const std::string& name, const MemoryFile& file) { files_.insert_or_assign(name, file); }
    std::unique_ptr<models::ByteFile> open(const std::string&, const std::string& path) override {
        const auto found = files_.find(path);
        return found == files_.end() ? nullptr : std::make_unique<MemoryFile>(found->second);
    }

private:
    std::map<std::string, MemoryFile> files_;
};

// An open image changes a copy; this keeps the file for a look afterwards.
class SharedFile final : public models::ByteFile {
public:
    explicit SharedFile(models::ByteFile& file) : ByteFile(file.name()), file_(file) {}
    std::uint64_t size() const override { return file_.size(); }
    bool writable() const override { return file_.writable(); }
    IoStatus read(std::uint64_t offset, std::span<std::byte> out) const override { return file_.read(offset, out); }
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data) override { return file_.write(offset, data); }
    IoStatus resize(std::uint64_t bytes) override { return file_.resize(bytes); }
    IoStatus flush() override { return file_.flush(); }
    IoStatus zero(std::uint64_t offset, std::uint64_t length) override { return file_.zero(offset, length); }

private:
    models::ByteFile& file_;
};

inline std::unique_ptr<DiskImage> open_shared(models::ByteFile& file, models::Access access,
                                              models::ParentFiles* parents = nullptr) {
    return models::open_disk_image(std::make_unique<SharedFile>(file), {access, ImageFormat::detect, parents});
}

inline MemoryFile create(const models::ImageOptions& options, std::uint64_t seed = 1, const char* name = "test") {
    MemoryFile file(name);
    sim::Random random(seed);
    models::create_disk_image(file, options, random);
    return file;
}

class Folder final {
public:
    Folder() {
        std::string path = (std::filesystem::temp_directory_path() / "vg-disk-XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
        path_ = path;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

inline void store(const models::ByteFile& file, const std::string& path) {
    std::filesystem::remove(path);
    const auto target = models::create_host_file(path);
    REQUIRE(target->resize(file.size()) == IoStatus::ok);
    static const Bytes zeros(64 * kib);
    for (std::uint64_t offset = 0; offset < file.size(); offset += zeros.size()) {
        const Bytes part = read(file, offset, std::min<std::uint64_t>(zeros.size(), file.size() - offset));
        if (std::memcmp(part.data(), zeros.data(), part.size()) == 0) continue;
        REQUIRE(target->write(offset, part) == IoStatus::ok);
    }
}

inline Bytes load(const std::string& path) {
    const auto file = models::open_host_file(path, models::Access::read_only);
    return all_of(*file, file->size());
}

// Runs a command; its output, and whether it ended well.
inline bool run(const std::string& command, std::string& output) {
    output.clear();
    std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4096> part{};
    while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe)) output.append(part.data(), count);
    const int status = ::pclose(pipe);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// False, with a message, where the package is not installed.
inline bool have_qemu_img() {
    std::string ignored;
    static const bool have = run("qemu-img --version", ignored);
    if (!have) MESSAGE("qemu-img is not installed (package qemu-utils): not compared");
    return have;
}

inline void qemu_img(const std::string& arguments) {
    std::string output;
    const bool good = run("qemu-img " + arguments, output);
    CHECK_MESSAGE(good, arguments << "\n" << output);
}

}  // namespace disk_test
