// Helpers for the cases of driver.cpp.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "interface.hpp"

using Emulated = int (*)(const EmulatorOptions*, const unsigned*, const unsigned*, unsigned long long, void* const*,
                         char*, unsigned long long);

inline EmulatorOptions options = {0, 1, 0};

/// Launches a kernel. Returns the error message, or an empty string if there is none.
template <typename... Arguments>
std::string launch(Emulated kernel, dim3 grid, dim3 block, unsigned long long dynamic_bytes, Arguments... arguments) {
    const unsigned grid_size[3] = {grid.x, grid.y, grid.z}, block_size[3] = {block.x, block.y, block.z};
    void* const pointers[] = {&arguments..., nullptr};
    char message[2000] = "";
    const int failed = kernel(&options, grid_size, block_size, dynamic_bytes, pointers, message, sizeof message);
    if ((failed != 0) != (message[0] != '\0')) abort();
    return message;
}

/// Ends the process unless the condition holds.
inline void expect(bool condition, const char* what) {
    if (condition) return;
    printf("wrong: %s\n", what);
    exit(2);
}

/// Prints the bits of results, which must not depend on the schedule.
template <typename T>
void print_bits(const std::vector<T>& results) {
    unsigned long long hash = 0xcbf29ce484222325;
    const auto* const bytes = reinterpret_cast<const unsigned char*>(results.data());
    for (size_t i = 0; i < results.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
    printf("%016llx\n", hash);
}
