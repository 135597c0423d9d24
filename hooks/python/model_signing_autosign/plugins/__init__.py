# SPDX-License-Identifier: Apache-2.0
"""Signing through a framework's own extension points, for programs where nothing is to be patched."""
