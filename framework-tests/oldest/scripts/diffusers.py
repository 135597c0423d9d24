from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
unet = UNet2DModel(sample_size=8, norm_num_groups=4, layers_per_block=1, **blocks)
scheduler = DDPMScheduler()
unet.save_pretrained("unet")
scheduler.save_pretrained("scheduler")
unet.save_config("config")
DDPMPipeline(unet, scheduler).save_pretrained("pipeline")
