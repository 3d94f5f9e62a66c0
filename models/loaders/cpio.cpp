#include "models/loaders/cpio.h"

#include <fmt/format.h>

#include "sim/check.h"

namespace models::loaders {
namespace {
constexpr std::uint32_t type_directory = 0040000, type_file = 0100000;

// A leading '/' is only a habit; the archive's names have none.
std::string_view checked(std::string_view path) {
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    const std::string framed = "/" + std::string{path} + "/";
    if (path.empty() || framed.find("//") != std::string::npos || framed.find("/../") != std::string::npos ||
        framed.find("/./") != std::string::npos || framed.find('\0') != std::string::npos) {
        throw sim::UserError(fmt::format("initramfs: '{}' is no path of a file", path));
    }
    return path;
}
}  // namespace

void CpioWriter::entry(std::string_view path, std::uint32_t mode, std::uint32_t links,
                       std::span<const std::byte> content) {
    if (content.size() > 0xffff'ffff) {
        throw sim::UserError(fmt::format("initramfs: '{}' is larger than 4 GiB", path));
    }
    // Magic, then 13 fields of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime, size, device and special
    // device (major, minor), name size with its NUL, checksum.
    out_.text("070701");
    for (const std::uint32_t field :
         {next_inode_++, mode, 0u, 0u, links, 0u, static_cast<std::uint32_t>(content.size()), 0u, 0u, 0u, 0u,
          static_cast<std::uint32_t>(path.size() + 1), 0u}) {
        out_.text(fmt::format("{:08X}", field));
    }
    out_.text(path).u8(0).align(4).bytes(content).align(4);
}

void CpioWriter::parents(std::string_view path) {
    for (std::size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1)) {
        directory(path.substr(0, at));
    }
}

CpioWriter& CpioWriter::directory(std::string_view given) {
    const std::string_view path = checked(given);
    parents(path);
    if (directories_.emplace(path).second) entry(path, type_directory | 0755, 2, {});
    return *this;
}

CpioWriter& CpioWriter::file(std::string_view given, std::span<const std::byte> content, std::uint32_t permissions) {
    const std::string_view path = checked(given);
    parents(path);
    entry(path, type_file | (permissions & 07777), 1, content);
    return *this;
}

CpioWriter& CpioWriter::file(std::string_view path, std::string_view content, std::uint32_t permissions) {
    return file(path, std::as_bytes(std::span{content}), permissions);
}

std::vector<std::byte> CpioWriter::finish() {
    next_inode_ = 0;
    entry("TRAILER!!!", 0, 1, {});
    return out_.take();
}

}  // namespace models::loaders
